"""detect.py as users run it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from cli.run import run_over_images
from desra.errors import InputError

ROOT = Path(__file__).parents[2]
SETTINGS = ("detector.min_area=300", "trainer=cpu")


def roots(pairs: Path) -> list[str]:
    return [f"mse_root={pairs}/MSE-SR", f"gan_root={pairs}/GAN-SR", f"lr_root={pairs}/LR"]


def table(output: Path) -> list[dict[str, str]]:
    with open(output / "artifacts.csv", newline="") as file:
        return list(csv.DictReader(file))


def tree(output: Path) -> dict[str, bytes]:
    """All files a user looks at, with the one column that no two runs share taken out."""
    files = {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and not path.relative_to(output).parts[0].startswith(".")
    }
    files = {name: data for name, data in files.items() if not name.endswith(".log")}
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in table(output)]
    return files | {"artifacts.csv": json.dumps(rows).encode()}


def test_masks_table_and_page(make_pairs, run_script, tmp_path, plain_mask):
    pairs, out = make_pairs(3), tmp_path / "out"
    run = run_script("detect.py", *roots(pairs), f"output_dir={out}", *SETTINGS)
    assert run.returncode == 0, run.stderr
    rows = {row["image"]: row for row in table(out)}
    assert list(rows) == ["set0/000", "set0/002", "set1/001"]
    for key, row in rows.items():
        mse_sr, gan_sr = (cv2.imread(str(pairs / f / f"{key}.png")) for f in ("MSE-SR", "GAN-SR"))
        expected = plain_mask(mse_sr, gan_sr, min_area=300)
        mask = cv2.imread(str(out / "DeSRA-Mask" / f"{key}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, np.where(expected, 255, 0))
        assert float(row["artifact_share"]) == pytest.approx(expected.mean(), abs=1e-6)
        assert int(row["regions"]) == cv2.connectedComponents(mask)[0] - 1
    assert float(rows["set0/000"]["artifact_share"]) > 0.02
    assert float(rows["set0/002"]["artifact_share"]) == 0
    assert (out / "index.html").is_file()
    assert json.loads((out / "summary.json").read_text())["images_with_artifacts"] == 2
    # what detect writes is what train reads
    for folder in ("LR", "MSE-SR", "GAN-SR"):
        assert (out / folder / "set0" / "000.png").read_bytes() == (
            pairs / folder / "set0" / "000.png"
        ).read_bytes()


def test_broken_images_are_listed_and_the_rest_is_done(make_pairs, run_script, tmp_path):
    pairs, out = make_pairs(6), tmp_path / "out"
    gan, mse = pairs / "GAN-SR", pairs / "MSE-SR"
    (gan / "set0/000.png").write_bytes(b"")
    (gan / "set1/001.png").write_bytes((gan / "set1/001.png").read_bytes()[:2000])
    (gan / "set0/002.png").unlink()
    cv2.imwrite(str(mse / "set1/003.png"), np.zeros((50, 60, 3), np.uint8))
    for folder in (mse, gan):
        cv2.imwrite(str(folder / "tiny.png"), np.zeros((9, 40, 3), np.uint8))
    run = run_script("detect.py", *roots(pairs), f"output_dir={out}", *SETTINGS)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    errors = {row["image"]: row["error"] for row in table(out) if row["error"]}
    assert {key: next(w for w in WORDS if w in error) for key, error in errors.items()} == {
        "set0/000": "empty",
        "set1/001": "damaged",
        "set0/002": "partner",
        "set1/003": "MSE-SR is 60x50",
        "tiny": "window",
    }
    for error in errors.values():
        assert error in run.stderr
    done = sorted(path.name for path in (out / "DeSRA-Mask").rglob("*.png"))
    assert done == ["004.png", "005.png"]


WORDS = ("empty", "damaged", "partner", "MSE-SR is 60x50", "window")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_at_any_moment_it_goes_on_and_ends_with_the_same_bytes(
    number, make_pairs, run_script, tmp_path
):
    pairs = make_pairs(10)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run_script("detect.py", *roots(pairs), f"output_dir={whole}", *SETTINGS).returncode == 0
    command = [
        sys.executable,
        ROOT / "detect.py",
        *roots(pairs),
        f"output_dir={stopped}",
        *SETTINGS,
        "data.num_workers=1",
    ]
    # As a terminal or a scheduler does: the reading processes are stopped, too.
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    records = stopped / ".desra" / "detect"
    while process.poll() is None and len(list(records.rglob("*.json"))) < 3:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    assert process.wait() in (-signal.SIGKILL, 128 + signal.SIGTERM)
    left = {path: path.stat().st_ino for path in records.rglob("[!.]*.json")}
    assert left
    for path in (stopped / "DeSRA-Mask").rglob("[!.]*.png"):
        assert path.read_bytes() == (whole / path.relative_to(stopped)).read_bytes()
    again = run_script("detect.py", *roots(pairs), f"output_dir={stopped}", *SETTINGS)
    assert again.returncode == 0, again.stderr
    finished, expected = tree(stopped), tree(whole)
    finished = {name: data for name, data in finished.items() if ".partial-" not in name}
    assert finished == expected
    assert {path: path.stat().st_ino for path in left} == left, "finished images were done again"


def test_changed_settings_and_changed_inputs_are_done_again(make_pairs, run_script, tmp_path):
    pairs, out = make_pairs(3), tmp_path / "out"
    run_script("detect.py", *roots(pairs), f"output_dir={out}", *SETTINGS)
    mask = out / "DeSRA-Mask" / "set0" / "000.png"
    before = mask.stat().st_ino
    run_script("detect.py", *roots(pairs), f"output_dir={out}", *SETTINGS)
    assert mask.stat().st_ino == before
    (pairs / "GAN-SR" / "set0" / "000.png").unlink()
    os.link(pairs / "MSE-SR" / "set0" / "000.png", pairs / "GAN-SR" / "set0" / "000.png")
    run_script("detect.py", *roots(pairs), f"output_dir={out}", *SETTINGS)
    assert not cv2.imread(str(mask)).any()
    other = out / "DeSRA-Mask" / "set1" / "001.png"
    before = other.stat().st_ino
    run_script("detect.py", *roots(pairs), f"output_dir={out}", *SETTINGS, "detector.threshold=0.6")
    assert other.stat().st_ino != before


def test_two_ranks_give_what_one_gives(make_pairs, run_script, tmp_path):
    pairs = make_pairs(5)
    (pairs / "GAN-SR" / "set0" / "004.png").write_bytes(b"broken")
    ranks = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    one = run_script("detect.py", *roots(pairs), f"output_dir={tmp_path / 'one'}", *SETTINGS)
    two = run_script(
        "detect.py", *roots(pairs), f"output_dir={tmp_path / 'two'}", SETTINGS[0], *ranks
    )
    assert (one.returncode, two.returncode) == (1, 1), two.stderr
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_sweep_shares_distances_and_ends_with_one_table(make_pairs, run_script, tmp_path):
    pairs, out = make_pairs(3), tmp_path / "sweep"
    for index, threshold in enumerate((0.5, 0.7)):
        single = tmp_path / f"single{index}"
        run_script(
            "detect.py", *roots(pairs), f"output_dir={single}", f"gt_root={pairs}/GT-Mask",
            *SETTINGS, f"detector.threshold={threshold}", "logger=wandb",
        )  # fmt: skip
    run = run_script(
        "detect.py", "-m", *roots(pairs), f"output_dir={out}", f"gt_root={pairs}/GT-Mask",
        *SETTINGS, "detector.threshold=0.5,0.7", "logger=wandb",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    with open(out / "sweep.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["detector.threshold"] for row in rows] == ["0.5", "0.7"]
    assert (out / "precision_recall.png").is_file()
    assert not (out / ".cache").exists()
    jobs = sorted(path.parent for path in out.rglob("summary.json"))
    for index, job in enumerate(jobs):
        single = tmp_path / f"single{index}"
        assert {n: d for n, d in tree(job).items() if not n.startswith("wandb")} == {
            n: d for n, d in tree(single).items() if not n.startswith("wandb")
        }
        assert any((job / "wandb").rglob("*.wandb"))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ([], "no MSE-SR, GAN-SR: give mse_root=DIR (or mse_weights="),
        (["mse_root=missing", "gan_root=missing"], "missing: no such file or folder"),
        (["mse_root=.", "gan_root=.", "detector.window_size=10"], "window_size=10"),
        (["mse_root=.", "gan_root=.", "detector.threshold=high"], "threshold=high: give a number"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(make_pairs, run_script, tmp_path, overrides, says):
    output = f"output_dir={tmp_path / 'out'}"
    run = run_script("detect.py", output, *overrides, cwd=make_pairs(1) / "GAN-SR")
    assert run.returncode == 2
    lines = run.stderr.strip().splitlines()
    assert len(lines) == 1, run.stderr
    assert says in lines[0]


@pytest.mark.parametrize("role", ["LR", "MSE-SR", "GAN-SR", "GT-Mask"])
def test_no_run_takes_the_output_of_the_last_for_its_input(make_pairs, role):
    pairs = make_pairs(1)
    given = [*roots(pairs), f"gt_root={pairs}/GT-Mask", f"output_dir={pairs / role / 'out'}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("detect", [*given, "task.output_dir=${output_dir}"])
    with pytest.raises(InputError, match=f"output_dir=.* is in .*{role}, where .* is read"):
        run_over_images(config)
    assert not (pairs / role / "out").exists()


def test_help_names_settings_and_groups_without_loading_the_world(run_script):
    run = run_script("detect.py", "--help")
    assert run.returncode == 0, run.stderr
    for word in ("mse_root", "segmenter", "threshold: 0.7", "DeSRA-Mask"):
        assert word in run.stdout
    imports = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "detect.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert " torch\n" not in imports
