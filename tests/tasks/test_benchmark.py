"""Miniatures of every published layout against an independent script, to 1e-9."""

import csv
import json
from functools import partial

import numpy as np
import pytest
import torch
from spandrel.architectures.SPAN import SPAN

from datamodules.benchmark_images import BenchmarkImages
from datamodules.benchmark_sets import JPEGAI, Folder, QualiSR, Release, SRGround, Table
from desra.detectors import ArtifactDetector, LDLDetector, NIQEDetector
from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.segmenters import NoSegmenter
from models.generators import RLFN, load_generator
from models.upscaler import Upscaler
from tasks.benchmark import Benchmark
from tasks.benchmark_counts import MEASURES, mean_ranks
from tests.datamodules import benchmark_layouts as layouts
from tests.models.networks import randomise
from tests.reference import plain_benchmark as plain
from tests.tasks.image_tasks import run_task

COLUMNS = {
    "gan_sr": "sr_image", "hr": "hr_image", "lr": "lr_image", "rlfn": "rlfn_image",
    "mask": "mask", "votes": "votes", "viewers": "viewers",
}  # fmt: skip

CASES = {
    "release": (layouts.write_release, Release, plain.release, ["mse_sr", "bicubic"]),
    "sr_prominence": (
        layouts.write_sr_prominence,
        partial(Table, table="metadata.csv", columns=COLUMNS, where={"subset": "open_images"}),
        plain.sr_prominence,
        ["rlfn", "hr", "bicubic"],
    ),
    "sr_ground": (layouts.write_sr_ground, SRGround, plain.sr_ground, ["bicubic", "hr"]),
    "jpeg_ai": (
        layouts.write_jpeg_ai,
        partial(JPEGAI, side=40),
        partial(plain.jpeg_ai, side=40),
        ["hr", "classic"],
    ),
    "qualisr": (layouts.write_qualisr, QualiSR, plain.qualisr, ["rlfn", "hr", "bicubic"]),
    "folder": (
        layouts.write_folder,
        partial(Folder, names={"after": "after"}),
        plain.folder,
        ["bicubic", "hr"],
    ),
}


def run(output_dir, sets, references, detectors=None, **settings):
    """Run a benchmark; the rows of its table, and the task."""
    detectors = detectors or {"desra": ArtifactDetector(min_area=100)}
    task = Benchmark("mini", detectors, NoSegmenter(), output_dir, replicates=20, **settings)
    data = BenchmarkImages(sets, references, settings.get("weights"), num_workers=0)
    assert not run_task(task, data)
    with open(output_dir / "benchmark.csv", newline="") as file:
        return list(csv.DictReader(file)), task


@pytest.mark.parametrize("name", CASES)
def test_rows_equal_an_independent_script(name, tmp_path):
    write, importer, read, references = CASES[name]
    root = tmp_path / "set"
    write(root)
    rows, _ = run(tmp_path / "out", {name: importer(root)}, references)
    assert [row["reference"] for row in rows] == references
    for row in rows:
        expected = plain.measures(read(root, row["reference"]), min_area=100)
        assert {measure for measure in MEASURES if row.get(measure)} == {
            measure for measure in expected if measure in MEASURES and expected[measure] is not None
        }
        for measure, value in expected.items():
            if value is not None:
                assert float(row[measure]) == pytest.approx(value, abs=1e-9), measure
                low, high = row.get(f"{measure}_low"), row.get(f"{measure}_high")
                assert not low or float(low) <= float(high)
    assert 0.1 < float(rows[0]["pixel_f1"]) < 1  # a miniature that tells something
    summary = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert summary[f"{name}/{references[0]}/desra/f1"] == float(rows[0]["f1"])
    assert (tmp_path / "out" / "benchmark.svg").is_file()
    assert "PR-AUC: area below" in (tmp_path / "out" / "benchmark.tex").read_text()


def test_ranks_over_sets_and_a_detector_without_reference(tmp_path, capsys):
    layouts.write_release(tmp_path / "release")
    layouts.write_folder(tmp_path / "folder")
    detectors = {
        "desra": ArtifactDetector(min_area=100),
        "ldl": LDLDetector(min_area=100),
        "niqe": NIQEDetector(min_area=100),
    }
    sets = {"a": Release(tmp_path / "release"), "b": Folder(tmp_path / "folder")}
    rows, task = run(tmp_path / "out", sets, ["bicubic"], detectors)
    by = {(row["set"], row["detector"]): float(row["pr_auc"]) for row in rows}
    for row in csv.DictReader((tmp_path / "out" / "ranks.csv").open()):
        own = [
            1 + sum(by[one, other] > by[one, row["detector"]] for other in detectors)
            for one in sets
        ]
        assert float(row["rank"]) == np.mean(own)
        assert float(row["rank_low"]) <= float(row["rank_high"])
    assert "rank/bicubic/desra" in task.summary

    rows, _ = run(tmp_path / "two", {"b": sets["b"]}, ["bicubic", "hr"], detectors)
    figures = {
        row["reference"]: {name: row[name] for name in MEASURES if name in row}
        for row in rows
        if row["detector"] == "niqe"
    }
    assert figures["bicubic"] == figures["hr"]
    assert "niqe takes no reference: checked, its maps are identical" in capsys.readouterr().out


def test_references_are_made_by_their_networks(tmp_path):
    torch.manual_seed(0)
    networks = {
        "rlfn": RLFN(features=8, blocks=1),
        "span": SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=4),
    }
    layouts.write_folder(tmp_path / "set")
    weights, folders = {}, {}
    for name, network in networks.items():
        weights[name], folders[name] = str(tmp_path / f"{name}.pth"), tmp_path / name
        torch.save({"params": randomise(network).state_dict()}, weights[name])
        upscaler = Upscaler(load_generator(weights[name]))
        for path in (tmp_path / "set/lr/a").iterdir():
            write_png(folders[name] / "a" / path.name, upscaler.upscale_image(read_rgb(path)))
    made, _ = run(tmp_path / "out", {"s": Folder(tmp_path / "set")}, [*networks], weights=weights)
    read, _ = run(tmp_path / "two", {"s": Folder(tmp_path / "set", folders=folders)}, [*networks])
    assert [row["reference"] for row in made] == ["rlfn", "span"]
    for row, other in zip(made, read, strict=True):
        assert {k: v for k, v in row.items() if "seconds" not in k} == {
            k: v for k, v in other.items() if "seconds" not in k
        }
    assert made[0]["pr_auc"] != made[1]["pr_auc"]


def test_a_detector_wrongly_said_to_need_no_reference_is_found_out(tmp_path):
    layouts.write_folder(tmp_path / "set")
    detector = ArtifactDetector(min_area=100)
    detector.uses_reference = False
    with pytest.raises(RuntimeError, match="takes no reference, but its map depends on it"):
        run(tmp_path / "out", {"b": Folder(tmp_path / "set")}, ["bicubic", "hr"], {"x": detector})


def test_a_second_run_judges_what_changed_alone(tmp_path):
    layouts.write_jpeg_ai(tmp_path / "set")
    first, _ = run(tmp_path / "out", {"s": JPEGAI(tmp_path / "set", side=40)}, ["hr"])
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npz")}
    again, _ = run(tmp_path / "out", {"s": JPEGAI(tmp_path / "set", side=40)}, ["hr"])
    assert again == first
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    text = (tmp_path / "set" / "boxes.csv").read_text().replace("0.6", "0.4")
    (tmp_path / "set" / "boxes.csv").write_text(text)
    other, _ = run(tmp_path / "out", {"s": JPEGAI(tmp_path / "set", side=40)}, ["hr"])
    assert other[0]["masks_confirmed"] != first[0]["masks_confirmed"]
    redone = {path.stem for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert redone == {"1"}  # the only image with that box


def test_equal_measures_share_a_rank():
    drawn = {name: [np.zeros(5)] * 2 for name in "abc"}
    ranks = mean_ranks({"a": [0.5, None], "b": [0.5, 0.1], "c": [0.2, 0.3]}, drawn)
    assert [ranks[name]["rank"] for name in "abc"] == [2.25, 1.75, 2.0]
    assert ranks["a"]["rank_low"] == 2


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path):
    sets = {"one": Release(None), "two": Table(tmp_path / "no", "t.csv", {})}
    with pytest.raises(InputError) as error:
        BenchmarkImages(sets, ["mse_sr"])
    for text in (
        "one: no folder given; get it from https://github.com/TencentARC/DeSRA",
        "sr-artifact-prominence (licence: mixed, per subset)",
        "~benchmark.sets.NAME",
    ):
        assert text in str(error.value)
    layouts.write_folder(tmp_path / "set")
    with pytest.raises(InputError, match=r"has no reference rlfn; give its folder"):
        BenchmarkImages({"s": Folder(tmp_path / "set")}, ["rlfn"])
    with pytest.raises(InputError, match="no such measure"):
        Benchmark("x", {"d": ArtifactDetector()}, NoSegmenter(), tmp_path, measures=["psnr"])
