"""Statistics of pairwise choices: Wilson intervals, binomial tests, Bradley–Terry scores.

Wilson, "Probable inference, the law of succession, and statistical inference", 1927. Bradley and
Terry, "Rank analysis of incomplete block designs", 1952; fitted by Hunter's "MM algorithms for
generalized Bradley–Terry models", 2004.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_ITERATIONS = 2000
_TOLERANCE = 1e-10
_PRIOR = 0.1


@dataclass(frozen=True)
class Share:
    """How often one of two was chosen.

    Attributes:
        chosen: choices for it; a tie counts half.
        total: choices, ties among them.
        share: ``chosen / total``; NaN where there are none.
        low: lower end of Wilson's interval.
        high: upper end.
        p_value: two-sided binomial test of a share of one half, ties left out; NaN without choices.
    """

    chosen: float
    total: int
    share: float
    low: float
    high: float
    p_value: float


def wilson_interval(chosen: float, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, without a continuity correction.

    Args:
        chosen: successes; halves may come from ties.
        total: trials.
        confidence: share of intervals that cover the truth.

    Returns:
        its ends in [0, 1]; all of [0, 1] where there are no trials.

    Example:
        >>> low, high = wilson_interval(8, 10)
        >>> round(low, 4), round(high, 4)
        (0.4902, 0.9433)
    """
    if total == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    share, squared = chosen / total, z**2 / total
    centre = (share + squared / 2) / (1 + squared)
    half = z * math.sqrt((share * (1 - share) + squared / 4) / total) / (1 + squared)
    return max(0.0, centre - half), min(1.0, centre + half)


def preference_share(first: int, second: int, ties: int = 0, confidence: float = 0.95) -> Share:
    """How often the first of two was chosen.

    Example:
        >>> share = preference_share(8, 2)
        >>> share.share, round(share.p_value, 4)
        (0.8, 0.1094)
    """
    total = first + second + ties
    chosen = first + ties / 2
    decided = first + second
    low, high = wilson_interval(chosen, total, confidence)
    p_value = float(stats.binomtest(first, decided).pvalue) if decided else math.nan
    return Share(chosen, total, chosen / total if total else math.nan, low, high, p_value)


def bradley_terry(
    wins: NDArray[np.floating] | NDArray[np.integer], prior: float = _PRIOR
) -> NDArray[np.float64]:
    """Maximum-likelihood scores of a Bradley–Terry model: ``P(i over j) = σ(s_i − s_j)``.

    Args:
        wins: ``(…, K, K)``: how often i was chosen over j; a tie counts half for both. Any
            number of problems of one size at once.
        prior: so many wins are added to both sides of each pair that was compared, which keeps the
            scores finite where one is never or always chosen. 0: none.

    Returns:
        ``(…, K)`` scores in natural logarithms of odds, of mean 0. Those that no chain of
        comparisons connects are not comparable; `connected` says so.

    Example:
        >>> bradley_terry(np.array([[0, 3], [1, 0]]), prior=0).round(4).tolist()  # ln(3) / 2
        [0.5493, -0.5493]
    """
    wins = np.asarray(wins, np.float64)
    count = wins.shape[-1]
    wins = np.where(np.eye(count, dtype=bool), 0.0, wins)
    wins = wins + prior * ((wins + np.swapaxes(wins, -1, -2)) > 0)
    compared = wins + np.swapaxes(wins, -1, -2)
    won = wins.sum(-1)
    strengths = np.ones(wins.shape[:-1])
    for _ in range(_ITERATIONS):
        pairs = strengths[..., :, None] + strengths[..., None, :]
        renewed = np.maximum(won, 1e-12) / np.maximum((compared / pairs).sum(-1), 1e-12)
        renewed /= np.exp(np.log(renewed).mean(-1, keepdims=True))
        change = np.abs(np.log(renewed) - np.log(strengths)).max()
        strengths = renewed
        if change < _TOLERANCE:
            break
    return np.log(strengths)


def connected(wins: NDArray[np.floating] | NDArray[np.integer]) -> bool:
    """Whether a chain of comparisons leads from each to each, so that scores can be compared."""
    compared = np.asarray(wins) + np.asarray(wins).T > 0
    reached = np.eye(len(compared), dtype=bool)[0]
    for _ in range(len(compared)):
        reached = reached | (compared & reached[:, None]).any(0)
    return bool(reached.all())


def bradley_terry_intervals(
    wins: NDArray[np.floating],
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    prior: float = _PRIOR,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Bradley–Terry scores with bootstrap intervals, drawn over participants.

    Whole participants are drawn with replacement, as the choices of one person are not independent.

    Args:
        wins: ``(P, K, K)``: for each of P participants how often i was chosen over j.
        replicates: of the bootstrap.
        confidence: share of intervals that cover the truth.
        seed: of the draws.
        prior: see `bradley_terry`.

    Returns:
        scores, lower ends and upper ends, ``(K,)`` each. The intervals are ``score ± z · σ``, σ
        the standard deviation over the replicates.
    """
    generator = np.random.default_rng(seed)
    participants = len(wins)
    scores = bradley_terry(wins.sum(0), prior)
    drawn = generator.multinomial(
        participants, np.full(participants, 1 / participants), size=replicates
    )
    table = drawn @ wins.reshape(participants, -1)
    again = bradley_terry(table.reshape(replicates, *wins.shape[1:]), prior)
    # Few participants make the spread of their means too narrow by this factor.
    widening = math.sqrt(participants / max(1, participants - 1))
    reach = float(stats.t.ppf(0.5 + confidence / 2, max(1, participants - 1)))
    half = reach * widening * again.std(0, ddof=1)
    return scores, scores - half, scores + half
