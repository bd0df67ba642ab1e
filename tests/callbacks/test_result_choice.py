"""The choice of a run's result: the rule, the strengths tried, patience, and resumed runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from callbacks.loggers import CurveLogger, read_curves
from callbacks.result_choice import Candidate, ResultChoice, _Bisection
from callbacks.weight_export import WeightExport
from desra.errors import InputError
from models.losses import AdversarialLoss
from tests.callbacks.artifacts import (
    AMOUNT,
    make_data,
    make_module,
    make_trainer,
    validation,
    write_set,
)
from tests.models.finetuning import Discriminator, SaveAt


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), masks=True)


def candidate(strength: float, removal: float, addition: float, psnr: float) -> Candidate:
    return Candidate(1, strength, removal, addition, psnr)


def test_the_rule_removes_enough_adds_nothing_and_changes_least() -> None:
    choice = ResultChoice(removal_goal=0.9)
    tried = [
        candidate(1.0, 1.0, 0.1, 40.0),  # adds
        candidate(0.2, 0.5, 0.0, 50.0),  # removes too little
        candidate(0.8, 1.0, 0.0, 34.0),
        candidate(0.5, 0.92, 0.0, 38.0),  # nearest that does
    ]
    assert max(tried, key=choice.rank) == tried[3]
    assert max(tried[:2], key=choice.rank) == tried[1]
    short = [candidate(1, 0.823, 0.0, 34.7), candidate(1, 0.827, 0.0, 34.2)]
    assert max(short, key=choice.rank) == short[0]  # as good as alike, and nearer
    assert choice.rank(candidate(1, math.nan, 0, 30.0))[0] == 2  # nothing was there to remove


@pytest.mark.parametrize(
    ("full", "reached_from", "expected"),
    [
        (candidate(1, 1.0, 0, 30), 0.4, [0.5, 0.25, 0.375]),
        (candidate(1, 0.5, 0, 30), 2.0, []),  # out of reach, and nothing to mend
    ],
)
def test_bisection_finds_the_weakest_strength(
    full: Candidate, reached_from: float, expected: list[float]
) -> None:
    search, tried = _Bisection(full, 0.95), []
    while len(tried) < 3 and (strength := search.next()) is not None:
        tried.append(strength)
        search.add(candidate(strength, float(strength >= reached_from), 0, 30))
    assert tried == expected


def test_a_later_state_is_tried_where_it_would_be_as_near_as_the_best() -> None:
    full, best = candidate(1, 1.0, 0, 30), candidate(0.5, 0.96, 0, 36)
    for reaches, expected in ((False, None), (True, 0.25)):
        search = _Bisection(full, 0.95, best)
        first = search.next()
        assert first == pytest.approx(0.5, rel=0.01)  # 6 dB are half of the change
        search.add(candidate(first, float(reaches), 0, 36))
        assert search.next() == (expected and pytest.approx(expected, rel=0.01))
    assert _Bisection(candidate(1, 0.9, 0.2, 30), 0.95, best).next() is None  # can't be better
    assert _Bisection(candidate(1, 1.0, 0, 37), 0.95, best).next() == 0.5  # is better already


def test_bisection_backs_away_from_additions() -> None:
    search = _Bisection(candidate(1, 0.5, 0.2, 30), 0.95)
    first = search.next()
    search.add(candidate(0.5, 0.2, 0.0, 30))
    assert (first, search.next()) == (0.5, 0.75)


def run(root: Path, steps: int, callbacks: Any = (), **options: Any) -> tuple[Any, ResultChoice]:
    settings = options.pop("choice", {})
    choice = ResultChoice(**{"removal_goal": 0.95, "probes": 3, **settings})
    module = make_module(learning_rate=0.042)
    data = make_data(root, epoch_steps=2)
    trainer = make_trainer(steps, [validation(choice=choice), *callbacks], val_check_interval=2)
    trainer.fit(module, data, **options)
    return module, choice


def amount(weights: dict[str, Tensor]) -> float:
    return float(weights["amount"])


def test_the_weakest_strength_that_removes_all_is_exported(root: Path, tmp_path: Path) -> None:
    export = WeightExport(tmp_path, "tiny")
    module, choice = run(root, 6, [export], choice={"probes": 5, "plot": tmp_path / "choice.png"})
    assert choice.best is not None
    assert (choice.best.removal, choice.best.addition) == (1.0, 0.0)
    assert any(found.removal < 0.95 for found in choice.candidates)
    # of all that remove enough, the one that changes least
    enough = [found for found in choice.candidates if found.removal >= 0.95]
    assert choice.best.psnr_outside == max(found.psnr_outside for found in enough)
    assert float(module.result.amount) == amount(choice.weights)
    assert abs(amount(choice.weights)) < AMOUNT
    assert float(module.ema.module.amount) != amount(choice.weights)  # the last state stays
    assert (tmp_path / "choice.png").stat().st_size > 5000
    state = torch.load(tmp_path / "tiny.pth", weights_only=True)
    assert float(state["params_ema"]["amount"]) == amount(choice.weights)


@pytest.mark.parametrize("saved_after", [3, 4, 6])  # of 4 and 6 the validation is left to do
def test_a_resumed_run_chooses_the_same(root: Path, tmp_path: Path, saved_after: int) -> None:
    path = tmp_path / "saved.ckpt"
    module, choice = run(root, 6, [SaveAt(saved_after, path)])
    resumed, again = run(root, 6, ckpt_path=path)
    if saved_after == 6:  # Lightning trains nothing; cli.resuming.finish does this
        for callback in resumed.trainer.callbacks:
            callback.on_train_end(resumed.trainer, resumed)
    assert again.candidates == choice.candidates
    assert again.best == choice.best
    assert torch.equal(resumed.result.amount, module.result.amount)


@pytest.mark.parametrize("saved_after", [3, 4, 6])
def test_curves_of_a_run_stopped_in_a_validation_have_its_row(
    root: Path, tmp_path: Path, saved_after: int
) -> None:
    path = tmp_path / "saved.ckpt"

    def rows(folder: Path, upto: int | None = None, **options: Any) -> list[dict[str, str]]:
        logger = CurveLogger(folder, options.get("ckpt_path"))
        found = [validation(choice=ResultChoice(probes=2)), SaveAt(saved_after, path)]
        trainer = make_trainer(6, found, val_check_interval=2, logger=logger, log_every_n_steps=1)
        trainer.fit(make_module(learning_rate=0.042), make_data(root, epoch_steps=2), **options)
        if options and saved_after == 6:
            for callback in found:
                callback.on_train_end(trainer, trainer.lightning_module)
        return read_curves(folder / "metrics.csv")

    whole = rows(tmp_path / "whole")
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    lines = (tmp_path / "whole" / "metrics.csv").read_text().splitlines(keepends=True)
    place = [row["step"] for row in whole].index("4") if saved_after < 6 else len(whole) - 3
    (stopped / "metrics.csv").write_text("".join(lines[: place + 1]))
    assert sum("removal_rate" in row for row in whole) == 3
    assert rows(stopped, ckpt_path=path) == whole


def test_patience_ends_a_run_that_gets_no_better(root: Path) -> None:
    module, choice = run(root, 40, choice={"patience": 2})
    assert choice.waited == 2
    assert module.trainer.global_step < 40


def test_warming_up_a_discriminator_uses_no_patience(root: Path) -> None:
    choice = ResultChoice(patience=1, probes=0)
    module = make_module(
        learning_rate=0.01,
        adversarial=AdversarialLoss(0.1),
        discriminator=Discriminator(),
        discriminator_warmup=3,
    )
    trainer = make_trainer(1, [validation(choice=choice)], val_check_interval=1)
    trainer.fit(module, make_data(root, epoch_steps=1))
    assert trainer.global_step == 1
    assert [found.iteration for found in choice.candidates] == [1]


def test_what_never_reaches_the_goal_is_said(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    choice = ResultChoice()
    module = make_module(learning_rate=0.0)
    trainer = make_trainer(2, [validation(choice=choice)], val_check_interval=2)
    trainer.fit(module, make_data(root, epoch_steps=2))
    assert choice.best is not None
    assert choice.best.removal == 0
    assert "NOTHING tried removed 95%" in caplog.text


def test_wrong_settings_are_one_line() -> None:
    for settings in ({"removal_goal": 0.0}, {"probes": -1}, {"patience": 0}):
        with pytest.raises(InputError, match=r"choice"):
            ResultChoice(**settings)  # type: ignore[arg-type]
