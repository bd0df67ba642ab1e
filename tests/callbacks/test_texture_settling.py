"""The stopping rule of an MSE partner, and the figures it goes by."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from scipy.ndimage import gaussian_filter

from callbacks.texture_settling import TextureSettling, TextureSums, local_deviation
from desra.errors import InputError
from desra.images import write_png
from models.generators import SRVGGNetCompact, load_generator, write_generator
from tests.conftest import smooth_photo

ROOT = Path(__file__).resolve().parents[2]


def settling(*figures: tuple[float, float], **settings: float) -> TextureSettling:
    callback = TextureSettling(**settings)  # type: ignore[arg-type]
    callback.history = [(50 * place, *pair) for place, pair in enumerate(figures)]
    return callback


def test_it_settles_when_texture_and_psnr_both_do() -> None:
    gan, flat = (0.9, 22.0), [(0.56, 23.6), (0.55, 23.6), (0.56, 23.5), (0.55, 23.6)]
    assert settling(gan, *flat).settled
    assert not settling(*flat).settled  # the first is the GAN generator's own
    assert not settling(gan, (0.60, 23.6), *flat[1:]).settled  # texture still falls
    assert not settling(gan, (0.55, 23.4), *flat[1:]).settled  # PSNR still rises
    assert settling(gan, *flat[:2], window=1).settled


def test_local_deviation_is_that_of_scipy() -> None:
    image = torch.randint(0, 256, (1, 3, 40, 33), dtype=torch.uint8)
    plane = image[0, 0].double().numpy()
    blur = {"sigma": 1.5, "radius": 5}
    variance = gaussian_filter(plane**2, **blur) - gaussian_filter(plane, **blur) ** 2
    found = local_deviation(image)[0, 0].numpy()
    np.testing.assert_allclose(found, np.sqrt(variance)[5:-5, 5:-5], atol=1e-9)


def test_figures_of_ranks_add_up() -> None:
    batches = [torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8) for _ in range(4)]
    whole, *parts = TextureSums(), TextureSums(), TextureSums()
    for part, (output, truth) in zip(parts, (batches[:2], batches[2:]), strict=True):
        whole.update(output, truth)
        part.update(output, truth)
    texture, psnr = whole.compute()
    output = sum(float(part.output) for part in parts)
    assert float(texture) == pytest.approx(output / sum(float(part.truth) for part in parts))
    assert float(psnr) == pytest.approx(sum(float(part.psnr) for part in parts) / 4)


def test_wrong_settings_are_one_line() -> None:
    with pytest.raises(InputError, match="a tolerance and a gain above 0"):
        TextureSettling(tolerance=0)


def test_the_command_makes_a_partner_and_stops(tmp_path: Path, run_script) -> None:
    """With a rule so lax that it holds as soon as it can."""
    for index in range(4):
        write_png(tmp_path / "photos" / f"{index}.png", smooth_photo(index, 96, 96))
    torch.manual_seed(0)
    write_generator(tmp_path / "tiny.pth", SRVGGNetCompact(features=8, depth=1))
    run = run_script(
        *("train.py", "experiment=mse_partner", f"generator_weights={tmp_path}/tiny.pth"),
        *(f"data.root={tmp_path}/photos", "data.hr_crop=64", "data.gt_crop=32", "trainer=cpu"),
        *("data.batch_size=2", "data.pool_size=4", "data.group_size=2", "data.unsharp=null"),
        *("iterations=50", "validate_every=2", "callbacks.texture_settling.tolerance=99"),
        *("callbacks.texture_settling.gain=99", f"output_dir={tmp_path}/out"),
    )
    assert run.returncode == 0, run.stderr
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (
        summary["iterations"] == 8
    )  # four validations, of which three are compared with the first
    assert {"partner/texture", "partner/psnr"} <= summary.keys()
    assert load_generator(tmp_path / "out/weights/tiny_mse.pth").scale == 4
    assert "partner after 8 iterations, texture settled" in run.stdout + run.stderr


def test_degradations_are_those_that_the_generator_has_learnt_to_clean() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        given = ["generator_weights=x", "data.root=x"]
        partner = compose("train", ["experiment=mse_partner", *given])
        full = compose("train", ["model=realesrgan", "data=hr_images", *given])
    assert partner.data.degradation == full.data.degradation
    assert partner.model.adversarial is partner.model.perceptual is None
