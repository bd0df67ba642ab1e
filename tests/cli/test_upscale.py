"""upscale.py as users run it."""

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
import torch
from hydra import compose, initialize_config_dir
from PIL import Image, ImageCms

from cli import failures, run
from desra.files import Match
from desra.image_task import Sample
from desra.images import Picture, read_image, write_png
from desra.resampling import resize_lanczos
from models.generators import SRVGGNetCompact, load_generator, write_generator
from models.upscaler import Upscaler
from tasks.upscale import Upscaling

ROOT = Path(__file__).parents[2]
CPU = ("trainer=cpu", "data.num_workers=0")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def weights(tmp_path):
    """A small ×2 generator whose output is near its input enlarged."""
    return write_weights(tmp_path / "weights.pth", seed=0)


def write_weights(path, seed, **sizes):
    torch.manual_seed(seed)
    network = SRVGGNetCompact(2, **{"features": 8, "depth": 2, **sizes})
    write_generator(path, network)
    return path


@pytest.fixture
def photos(tmp_path):
    """Images of many kinds, in folders."""
    root = tmp_path / "photos"
    colour = smooth(40, 56)
    write_png(root / "colour.png", colour)
    write_png(root / "sub/deep.png", colour.astype(np.uint16) * 257)
    write_png(root / "sub/deeper/grey.png", colour[..., 0])
    alpha = np.dstack([colour, smooth(40, 56)[..., :1]])
    Image.fromarray(alpha).save(root / "sub/alpha.webp", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(
        root / "camera.jpg", icc_profile=SRGB, exif=exif.tobytes(), quality=95
    )
    Image.fromarray(colour).quantize(16).save(root / "palette.png")
    Image.fromarray(colour[:1, :1]).save(root / "one.bmp")
    return root


def smooth(height, width):
    coarse = np.random.default_rng(height).integers(0, 256, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def table(output):
    with open(output / "upscaled.csv", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def images(output):
    return sorted(
        path.relative_to(output).as_posix()
        for path in output.rglob("*")
        if path.suffix in (".png", ".jpg", ".webp", ".tif", ".bmp") and path.name[0] != "."
    )


@pytest.fixture
def upscale(monkeypatch, capsys):
    """Runs the task of upscale.py in this process; gives the exit code and what stderr got."""

    def upscale(*overrides):
        monkeypatch.setattr(failures, "_exit_code", 0)
        config = compose_config(*overrides)
        run.run_over_images(config)
        return failures._exit_code, capsys.readouterr().err

    return upscale


def compose_config(*overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        # Outside of a run Hydra has no folder of its own, which else is output_dir.
        return compose("upscale", [*map(str, overrides), "task.output_dir=${output_dir}"])


def through_network(weights, pixels):
    """The definition, in levels of 255 before rounding."""
    lr = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        sr = load_generator(weights)(lr)
    return sr[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()


def test_folders_of_all_kinds_of_images(photos, weights, upscale, tmp_path):
    out = tmp_path / "out"
    code, errors = upscale(f"input={photos}", f"weights={weights}", f"output_dir={out}", *CPU)
    assert code == 0, errors
    assert images(out) == images(photos)
    expected = through_network(weights, read_image(photos / "colour.png").pixels)
    np.testing.assert_allclose(read_image(out / "colour.png").pixels, expected, atol=0.51)
    deep = read_image(out / "sub/deep.png").pixels
    assert deep.dtype == np.uint16
    np.testing.assert_allclose(deep / 257, expected, atol=0.1)
    assert read_image(out / "sub/deeper/grey.png").pixels.shape == (80, 112, 1)
    assert read_image(out / "sub/alpha.webp").pixels.shape == (80, 112, 4)
    assert read_image(out / "palette.png").pixels.shape == (80, 112, 3)
    assert read_image(out / "one.bmp").pixels.shape == (2, 2, 3)
    with Image.open(out / "camera.jpg") as camera:
        assert camera.size == (112, 80)
        assert camera.getexif()[0x0112] == 6
        assert camera.info["icc_profile"] == SRGB
    row = table(out)["sub/deep"]
    assert (row["width"], row["height"], row["new_width"], row["new_height"]) == (
        *("56", "40"),
        *("112", "80"),
    )
    assert row["output"] == "sub/deep.png"


def test_one_image_with_another_scale_suffix_and_format(photos, weights, upscale, tmp_path):
    code, errors = upscale(
        f"input={photos}/colour.png",
        f"weights={weights}",
        f"output_dir={tmp_path}/out",
        *("outscale=1.5", "suffix=_x1.5", "format=jpg", "tile=16"),
        *CPU,
    )
    assert code == 0, errors
    assert images(tmp_path / "out") == ["colour_x1.5.jpg"]
    result = read_image(tmp_path / "out/colour_x1.5.jpg").pixels
    assert result.shape == (60, 84, 3)
    sharp = through_network(weights, read_image(photos / "colour.png").pixels)
    expected = resize_lanczos(np.rint(sharp).astype(np.uint8), 60, 84)
    assert np.abs(result.astype(float) - expected).mean() < 2  # JPEG


def test_mixed_weights_lie_between_the_two(photos, upscale, tmp_path):
    first = write_weights(tmp_path / "a.pth", seed=1)
    second = write_weights(tmp_path / "b.pth", seed=2)
    outputs = {}
    for name, given in {
        "first": [f"weights={first}"],
        "all of the second": [f"weights=[{first},{second}]", "mix=1"],
        "second": [f"weights={second}"],
    }.items():
        out = tmp_path / name.replace(" ", "-")
        code, errors = upscale(f"input={photos}/colour.png", f"output_dir={out}", *given, *CPU)
        assert code == 0, errors
        outputs[name] = read_image(out / "colour.png").pixels
    np.testing.assert_array_equal(outputs["all of the second"], outputs["second"])
    assert (outputs["first"] != outputs["second"]).any()


def test_broken_images_are_listed_and_the_rest_is_done(photos, weights, upscale, tmp_path):
    (photos / "empty.png").write_bytes(b"")
    whole = (photos / "colour.png").read_bytes()
    (photos / "half.png").write_bytes(whole[: len(whole) // 2])
    (photos / "text.jpg").write_text("no image")
    (photos / "colour.jpg").write_bytes((photos / "camera.jpg").read_bytes())
    out = tmp_path / "out"
    code, errors = upscale(f"input={photos}", f"weights={weights}", f"output_dir={out}", *CPU)
    assert code == 1
    rows = table(out)
    failed = {key: row["error"] for key, row in rows.items() if row["error"]}
    assert list(failed) == ["colour", "empty", "half", "text"]
    for error in failed.values():
        assert error in errors
    assert len(images(out)) == len(rows) - len(failed)


def test_stopped_it_goes_on_and_does_again_only_what_changed(photos, weights, upscale, tmp_path):
    for index in range(12):
        write_png(photos / f"more/{index:02}.png", smooth(30 + index, 40))
    command = [f"input={photos}", f"weights={weights}", *CPU]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert upscale(*command, f"output_dir={whole}")[0] == 0
    process = subprocess.Popen(
        [sys.executable, ROOT / "upscale.py", *command, f"output_dir={stopped}"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    records = stopped / ".desra" / "upscale"
    while process.poll() is None and len(list(records.rglob("[!.]*.json"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in stopped.rglob("[!.]*.png")}
    assert done
    code, errors = upscale(*command, f"output_dir={stopped}")
    assert code == 0, errors
    assert images(stopped) == images(whole)
    for name in images(whole):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()
    finished = [
        stopped / json.loads(path.read_bytes())["row"]["output"]
        for path in records.rglob("[!.]*.json")
    ]
    assert len(finished) == len(images(whole))
    changed = read_image(photos / "colour.png").pixels[::-1]
    write_png(photos / "colour.png", changed)
    before = {path: path.stat().st_mtime_ns for path in finished}
    assert upscale(*command, f"output_dir={stopped}")[0] == 0
    redone = [path.name for path in finished if path.stat().st_mtime_ns != before[path]]
    assert redone == ["colour.png"]


def test_two_processes_share_the_images(photos, weights, upscale, run_script, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    command = [f"input={photos}", f"weights={weights}"]
    assert upscale(*command, f"output_dir={one}", *CPU)[0] == 0
    run = run_script(
        "upscale.py",
        *command,
        f"output_dir={two}",
        *("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"),
    )
    assert run.returncode == 0, run.stderr
    assert images(one) == images(two)
    assert list(table(one)) == list(table(two))
    for name in images(one):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("weights=no-such-weights", "no-such-weights"),
        ("weights=[{weights},{weights}]", "mix"),
        ("tile=huge", "tile=huge"),
        ("format=gif", "format=gif"),
        ("outscale=0", "outscale"),
        ("quality=101", "quality"),
        ("suffix=a/b", "suffix"),
        ("precision=int8", "precision=int8"),
        ("alpha=none", "alpha"),
        ("input={photos}/nothing", "no such file or folder"),
        ("output_dir={photos}/out", "is in input"),
        ("output_dir={photos}", "is in input"),
    ],
)
def test_wrong_use_is_one_line(photos, weights, tmp_path, override, complaint):
    override = override.format(weights=weights, photos=photos)
    given = {"input": photos, "weights": weights, "output_dir": tmp_path / "out", "trainer": "cpu"}
    name, _, value = override.partition("=")
    given[name] = value
    config = compose_config(*(f"{name}={value}" for name, value in given.items()))
    with pytest.raises(Exception) as caught:  # noqa: PT011
        run.run_over_images(config)
    message = failures.user_message(caught.value)
    assert message is not None, caught.value
    assert complaint in message
    assert "\n" not in message


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(photos, weights, tmp_path):
    given = (f"input={photos}", f"weights={weights}", f"output_dir={tmp_path / 'out'}")
    with pytest.raises(Exception, match=r"GPU|gpu|cuda") as caught:
        run.run_over_images(compose_config(*given, "trainer=gpu"))
    message = failures.user_message(caught.value)
    assert message.startswith("trainer: ")
    assert "\n" not in message
    assert failures.error_code(caught.value) == 2


def test_wrong_use_in_the_shell(photos, run_script, tmp_path):
    run = run_script("upscale.py", f"input={photos}", f"output_dir={tmp_path}/out")
    assert run.returncode == 2
    assert run.stderr.strip() == "error: weights: no value given; add weights=VALUE to the command"


def test_an_image_is_not_written_over_itself(photos, weights, upscale):
    before = (photos / "colour.png").read_bytes()
    code, errors = upscale(
        f"input={photos}/colour.png", f"weights={weights}", f"output_dir={photos}", *CPU
    )
    assert code == 1
    assert "overwritten" in errors
    assert (photos / "colour.png").read_bytes() == before


def test_an_image_that_outscale_makes_too_large_is_not_begun(tmp_path, monkeypatch):
    network = SRVGGNetCompact(2, features=8, depth=2)
    task = Upscaling("in", tmp_path, Upscaler(network), outscale=50)
    monkeypatch.setattr("tasks.upscale.available_memory", lambda device: 10**7)
    monkeypatch.setattr(task, "enlarge", lambda *_: pytest.fail("it was begun"))
    match = Match("a", {"lr": Path("in/a.png")})
    sample = Sample(match, payload=Picture(np.zeros((20, 40, 3), np.uint8)))
    (result,) = task.predict_step([sample])
    assert result.error.startswith("in/a.png: outscale=50 makes it 2000x1000 (0.0279 GB), more")
