"""The benchmark as users start it: in a shell, over files, on two processes."""

import csv
import json

from tests.datamodules import benchmark_layouts as layouts


def test_two_processes_give_the_table_of_one_and_wandb_has_it(tmp_path, run_script):
    layouts.write_folder(tmp_path / "set")
    tables = []
    for name, more in (
        ("one", ("logger=wandb",)),
        ("two", ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")),
    ):
        run = run_script(
            "evaluate.py", "task=benchmark", "benchmark=folder", f"roots.folder={tmp_path / 'set'}",
            "benchmark.references=[bicubic,hr]", "benchmark.detectors.desra.min_area=100",
            "~benchmark.detectors.ssim", f"output_dir={tmp_path / name}", *more,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("PR-AUC: area below") == 1
        with open(tmp_path / name / "benchmark.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        tables.append(
            [
                {key: value for key, value in row.items() if key != "seconds_per_megapixel"}
                for row in rows
            ]
        )
    assert tables[0] == tables[1]
    assert len(tables[0]) == 4
    assert list((tmp_path / "one" / "wandb").rglob("*benchmark*.table.json"))


def test_a_set_that_is_not_there_is_named(tmp_path, run_script):
    run = run_script(
        "evaluate.py", "task=benchmark", "benchmark=removal_ldl", f"output_dir={tmp_path}"
    )
    assert run.returncode == 2
    line = run.stderr.strip().splitlines()[-1]
    assert "desra: no folder given; get it from https://github.com/TencentARC/DeSRA" in line
    assert "licence" in line


def test_the_change_by_finetuning_is_made_from_its_weights(tmp_path, run_script):
    layouts.write_release(tmp_path / "set")
    layouts.write_folder(tmp_path / "other")
    run = run_script(
        "evaluate.py", "task=benchmark", "benchmark=removal_ldl", f"roots.desra={tmp_path / 'set'}",
        "benchmark.detectors.desra.min_area=100", f"output_dir={tmp_path / 'out'}",
        f"benchmark.sets.desra.folders.after={tmp_path / 'set/LDL/MSE-SR'}",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    summary = json.loads((tmp_path / "out" / "metrics.json").read_text())
    iou = summary["desra/mse_sr/desra/iou"]
    assert summary["desra/mse_sr/desra/delta_iou"] == iou > 0.2  # nothing is left in MSE-SR
