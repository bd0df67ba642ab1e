"""Studies of finetuning: settings that compose, masks that are changed, lines of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from benchmarks.finetuning_runs import STUDIES, changed_mask, row_of, run, table

ROOT = Path(__file__).resolve().parents[2]


def figures(removed: float, added: float, psnr: float) -> dict[str, Any]:
    rates = {"removal_rate": 1.0, "pixel_removal_rate": removed, "addition_rate": added}
    return {**rates, "psnr/outside": psnr}


FOUND = {
    "seconds": 10.0,
    "record": {"iteration": 50, "strength": 0.5},
    "chosen": figures(0.9, 0.0, 36.0),
    "states": {"50": figures(0.97, 0.0, 34.0), "100": figures(1.0, 0.25, 30.0)},
}


def test_a_run_is_compared_with_the_best_state_that_adds_nothing() -> None:
    row = row_of("none", 0, FOUND)
    assert (row["removal"], row["best_removal"], row["last_addition_rate"]) == (0.9, 0.97, 0.25)
    lines = table([row, row_of("none", 1, {**FOUND, "chosen": figures(0.95, 0.0, 34.0)})])
    assert lines.splitlines()[-1] == (
        "| none | 2 | 50, 0.5; 50, 0.5 | 92.5 % | 97.0 % | 1 of 2 | 0 of 2 | 35.0 dB | "
        "100.0 %, 25.0 %, 30.0 dB |"
    )


def test_what_was_judged_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "judged.json").write_text(json.dumps(FOUND))
    assert run(tmp_path, ["no=such.setting"], None) == FOUND  # type: ignore[arg-type]


def test_masks_are_dilated_or_of_another_image() -> None:
    masks = [np.zeros((64, 64), bool), np.zeros((32, 64), bool)]
    masks[0][40, 30] = True
    wider = changed_mask(masks, 0, "dilated")
    assert wider[56, 30]
    assert not wider[57, 30]
    other = changed_mask(masks, 1, "shuffled")  # turned over, and of this image's size
    assert other.shape == (32, 64)
    assert [list(place) for place in np.argwhere(other)] == [[11, 30]] or not other.any()


@pytest.mark.parametrize("study", STUDIES)
def test_every_variant_is_a_setting_of_train(study: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        for variant in STUDIES[study].values():
            config = compose("train", ["experiment=sample", *variant.overrides])
            for term in (config.model.keep, config.model.adversarial):
                assert term is None or instantiate(term).weight > 0
