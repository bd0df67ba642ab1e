"""Results of a study: shares, tests, scores, agreement, and the sentence for a paper."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from desra.files import atomic_path, write_table, write_text
from desra.metrics.agreement import MISSING, fleiss_kappa, observed_agreement, rating_counts
from desra.metrics.preference import (
    Share,
    bradley_terry_intervals,
    connected,
    preference_share,
)

VOTES, RESULTS, PLOT = "votes.csv", "results.json", "results.png"
COLUMNS = (
    *("participant", "question", "control", "image", "first", "second", "choice", "left"),
    *("seconds", "at"),
)
_CHOICES = ("first", "second", "tie")


@dataclass(frozen=True)
class Answer:
    """One vote.

    Attributes:
        participant: who.
        question: its number, from 0.
        control: whether the right answer is known: the first of the pair.
        choice: ``"first"``, ``"second"`` or ``"tie"``.
        left: which of the two was on the left.
        at: Unix seconds.
    """

    participant: str
    question: int
    control: bool
    image: str
    first: str
    second: str
    choice: str
    left: str
    seconds: float
    at: float


@dataclass(frozen=True)
class PairResult:
    """What was said of one pair of methods."""

    first: str
    second: str
    votes: tuple[int, int, int]  # first, second, tie
    share: Share


@dataclass(frozen=True)
class QuestionResult:
    """What was said to one question.

    Attributes:
        pairs: by pair of methods.
        scores: method to Bradley–Terry score and ends of its interval; empty where there are only
            two methods, or not all are connected by comparisons.
        agreement: share of pairs of participants that said the same of a picture pair; NaN: none.
        kappa: Fleiss' kappa of that.
        sentences: for a paper, one a pair.
    """

    text: str
    participants: int
    pairs: list[PairResult]
    scores: dict[str, tuple[float, float, float]]
    agreement: float
    kappa: float
    sentences: list[str]


@dataclass(frozen=True)
class StudyResults:
    """All of a study.

    Attributes:
        participants: all who answered.
        left_out: who, and the share of control pairs that they answered right.
        rule: why, in words.
    """

    participants: list[str]
    left_out: dict[str, float]
    rule: str
    questions: list[QuestionResult] = field(default_factory=list)


def summarise(
    texts: Sequence[str], answers: Sequence[Answer], control_share: float = 0.75, seed: int = 0
) -> StudyResults:
    """The results of a study.

    Args:
        texts: of the questions.
        answers: one a participant and pair.
        control_share: who answered less than this share of control pairs right is left out.
        seed: of the bootstrap.
    """
    controls: dict[str, list[bool]] = {}
    for answer in answers:
        if answer.control:
            controls.setdefault(answer.participant, []).append(answer.choice == "first")
    shares = {name: sum(right) / len(right) for name, right in controls.items()}
    left_out = {name: share for name, share in shares.items() if share < control_share}
    rule = f"fewer than {100 * control_share:.0f} % of the control pairs right"
    votes = [a for a in answers if not a.control and a.participant not in left_out]
    people = list(dict.fromkeys(answer.participant for answer in answers))
    questions = [
        _question(text, [a for a in votes if a.question == number], len(left_out), rule, seed)
        for number, text in enumerate(texts)
    ]
    return StudyResults(people, left_out, rule, questions)


def _question(
    text: str, votes: Sequence[Answer], left_out: int, rule: str, seed: int
) -> QuestionResult:
    people = list(dict.fromkeys(vote.participant for vote in votes))
    pairs = []
    for first, second in dict.fromkeys((vote.first, vote.second) for vote in votes):
        said = [vote.choice for vote in votes if (vote.first, vote.second) == (first, second)]
        counts = (said.count("first"), said.count("second"), said.count("tie"))
        pairs.append(PairResult(first, second, counts, preference_share(*counts)))
    methods = list(dict.fromkeys(name for pair in pairs for name in (pair.first, pair.second)))
    scores: dict[str, tuple[float, float, float]] = {}
    if len(methods) > 2 and len(people) > 1:
        wins = np.zeros((len(people), len(methods), len(methods)))
        for vote in votes:
            person = people.index(vote.participant)
            one, other = methods.index(vote.first), methods.index(vote.second)
            share = {"first": 1.0, "second": 0.0, "tie": 0.5}[vote.choice]
            wins[person, one, other] += share
            wins[person, other, one] += 1 - share
        if connected(wins.sum(0)):
            columns = zip(*bradley_terry_intervals(wins, seed=seed), strict=True)
            scores = {
                name: (float(score), float(low), float(high))
                for name, (score, low, high) in zip(methods, columns, strict=True)
            }
    ratings = _ratings(votes, people)
    sentences = [_sentence(text, pair, len(people), left_out, rule) for pair in pairs]
    return QuestionResult(
        text,
        len(people),
        pairs,
        scores,
        observed_agreement(ratings, len(_CHOICES)),
        fleiss_kappa(rating_counts(ratings, len(_CHOICES))),
        sentences,
    )


def _ratings(votes: Sequence[Answer], people: Sequence[str]) -> np.ndarray:
    """``(picture pairs, participants)`` numbers of `_CHOICES`."""
    shown = list(dict.fromkeys((vote.first, vote.second, vote.image) for vote in votes))
    rows = {key: number for number, key in enumerate(shown)}
    columns = {name: number for number, name in enumerate(people)}
    ratings = np.full((len(shown), len(people)), MISSING)
    for vote in votes:
        place = rows[vote.first, vote.second, vote.image], columns[vote.participant]
        ratings[place] = _CHOICES.index(vote.choice)
    return ratings


def _sentence(text: str, pair: PairResult, people: int, left_out: int, rule: str) -> str:
    share, (first, second, ties) = pair.share, pair.votes
    winner, loser = pair.first, pair.second
    low, high, value = share.low, share.high, share.share
    if value < 0.5:
        winner, loser, value, low, high = loser, winner, 1 - value, 1 - high, 1 - low
    p = "p < 0.001" if share.p_value < 0.001 else f"p = {share.p_value:.3f}"
    tied = f", {ties} ties counted half" if ties else ""
    who = f"{people} participant{'s' if people != 1 else ''}"
    out = f" ({left_out} more were left out: {rule})" if left_out else ""
    return (
        f"Asked “{text}”, {who}{out} chose {winner} over {loser} in "
        f"{100 * value:.2f} % of {first + second + ties} comparisons{tied} "
        f"(95 % Wilson interval {100 * low:.1f}–{100 * high:.1f} %; two-sided binomial test, "
        f"{p if not math.isnan(share.p_value) else 'no decided votes'})."
    )


def write_results(folder: Path, answers: Sequence[Answer]) -> None:
    """Write ``votes.csv``: a row a vote."""
    rows: list[Mapping[str, Any]] = [
        asdict(answer) | {"at": datetime.fromtimestamp(answer.at).isoformat(timespec="seconds")}
        for answer in answers
    ]
    write_table(folder / VOTES, rows, COLUMNS)


def write_summary(folder: Path, results: StudyResults) -> None:
    """Write ``results.json`` and the plot ``results.png``."""
    write_text(folder / RESULTS, json.dumps(_plain(asdict(results)), indent=2) + "\n")
    plot_results(folder / PLOT, results)


def plot_results(path: Path, results: StudyResults) -> None:
    """Shares of the pairs with their intervals, and where there are scores, these."""
    from matplotlib.figure import Figure

    shown = [question for question in results.questions if question.pairs]
    panels = sum(1 + bool(question.scores) for question in shown)
    heights = [
        height
        for question in shown
        for height in (len(question.pairs), *([len(question.scores)] if question.scores else []))
    ]
    figure = Figure(figsize=(7.5, 1.2 * max(1, panels) + 0.45 * sum(heights)), layout="constrained")
    axes = figure.subplots(max(1, panels), 1, squeeze=False, height_ratios=heights or [1])[:, 0]
    place = iter(axes)
    for question in shown:
        axis = next(place)
        names = [f"{pair.first} over {pair.second}" for pair in question.pairs]
        values = [pair.share.share for pair in question.pairs]
        low = [pair.share.share - pair.share.low for pair in question.pairs]
        high = [pair.share.high - pair.share.share for pair in question.pairs]
        axis.errorbar(values, range(len(names)), xerr=[low, high], fmt="o", capsize=4)
        axis.axvline(0.5, color="grey", linewidth=0.8)
        axis.set(title=question.text, xlim=(0, 1), xlabel="share of choices, 95 % interval")
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
        if question.scores:
            axis = next(place)
            order = sorted(question.scores, key=lambda name: -question.scores[name][0])
            table = np.array([question.scores[name] for name in order])
            reach = np.abs(table[:, 1:] - table[:, :1]).T
            axis.errorbar(table[:, 0], range(len(order)), xerr=reach, fmt="s", capsize=4)
            axis.set(xlabel="Bradley–Terry score, 95 % bootstrap interval")
            axis.set_yticks(range(len(order)), order)
            axis.set_ylim(len(order) - 0.5, -0.5)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _plain(value: Any) -> Any:
    """As JSON has it: NaN as null."""
    if isinstance(value, dict):
        return {name: _plain(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
