"""The benchmark as users start it: in a shell, over files, on two processes."""

import csv

from tests.datamodules import benchmark_layouts as layouts
from tests.docs.commands import run_command


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


def test_a_set_that_is_not_there_is_named(tmp_path, monkeypatch, capfd):
    line = f"python evaluate.py task=benchmark benchmark=removal_ldl output_dir={tmp_path}"
    assert run_command(line, [], monkeypatch) == 2
    line = capfd.readouterr().err.strip().splitlines()[-1]
    assert "desra: no folder given; get it from https://github.com/TencentARC/DeSRA" in line
    assert "licence" in line
