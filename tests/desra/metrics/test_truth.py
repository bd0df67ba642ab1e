"""Artifacts by structure, and nearness to the truth, against NumPy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from desra.detectors.ssim import local_ssim
from desra.metrics.finetuning import Comparison, FinetuningScores, compare, doubt
from desra.metrics.truth import structural_artifacts, structure


def blurred(seed: int = 0, side: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(40, 216, (1, 3, side // 8, side // 8), generator=generator).float()
    image = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return image.clamp(0, 255).round().to(torch.uint8)


def with_noise(image: Tensor, left: int, amount: int = 40) -> Tensor:
    noise = torch.randint(
        -amount, amount + 1, image.shape, generator=torch.Generator().manual_seed(1)
    )
    noise[..., left:] = 0
    return (image.int() + noise).clamp(0, 255).to(torch.uint8)


def test_the_first_scale_is_ssim() -> None:
    truth, other = blurred(), with_noise(blurred(), 48)
    _, expected = structural_similarity(
        *(image[0].permute(1, 2, 0).numpy() for image in (truth, other)),
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    inside = (slice(8, -8), slice(8, -8))
    found = local_ssim(truth, other)[0, 0].numpy()
    np.testing.assert_allclose(found[inside], expected.mean(2)[inside], atol=1e-6)
    assert float(structure(truth, truth).min()) == pytest.approx(1)


def test_invented_texture_is_marked_and_lost_texture_is_not() -> None:
    truth = blurred()
    marked = structural_artifacts(truth, truth, with_noise(truth, 48))[0, 0]
    assert marked[8:-8, 8:36].float().mean() > 0.7
    assert not marked[:, 64:].any()
    textured = with_noise(truth, 48)
    assert not structural_artifacts(textured, truth, truth).any()  # both lack it
    faint = (truth.int() + torch.randint(0, 2, truth.shape)).clamp(0, 255).to(torch.uint8)
    assert not structural_artifacts(
        torch.zeros_like(truth), torch.zeros_like(truth), faint // 255
    ).any()


def test_columns_compare_every_candidate_with_the_truth() -> None:
    truth, mse_sr, gan_sr = blurred(), with_noise(blurred(), 96, 4), with_noise(blurred(), 48)
    before = torch.zeros(1, 1, 96, 96, dtype=torch.bool)
    before[..., 8:88, 8:48] = True
    finetuned = torch.where(before, mse_sr, gan_sr)
    images = Comparison(mse_sr, gan_sr, finetuned, before, ~before & False, None, 5, truth)
    (row,) = compare(images)
    region = before[0, 0].numpy()
    for name, image in {"gan_sr": gan_sr, "finetuned": finetuned, "mse_sr": mse_sr}.items():
        error = (image.double() - truth.double())[0].square().mean(0).numpy()[region].mean()
        expected = 10 * np.log10(255**2 / error)
        assert row[f"truth_psnr_inside_{name}"] == pytest.approx(expected, abs=1e-9)
    assert row["truth_psnr_inside_repaired"] == row["truth_psnr_inside_finetuned"]
    assert row["structural_share_after"] < 0.5 * row["structural_share_before"]
    assert (row["pixels_before"], row["pixels_removed"]) == (80 * 40, 80 * 40)
    scores = FinetuningScores()
    scores.update(row)
    figures = scores.compute()
    assert figures["truth/psnr_inside/gan_sr"] == row["truth_psnr_inside_gan_sr"]
    assert figures["pixel_removal_rate"] == 1


def test_pixels_say_what_regions_flatter() -> None:
    """Half a region is left: by regions it is gone, by pixels half of it."""
    image = blurred()
    before, after = (torch.zeros(1, 1, 96, 96, dtype=torch.bool) for _ in range(2))
    before[..., 10:50, 10:50] = True
    after[..., 10:50, 10:29] = True
    (row,) = compare(Comparison(image, image, image, before, after))
    scores = FinetuningScores()
    scores.update(row)
    figures = scores.compute()
    assert figures["removal_rate"] == 1
    assert figures["pixel_removal_rate"] == pytest.approx(1 - 19 / 40)


def test_doubt_names_what_speaks_against_the_detector() -> None:
    satisfied = {"pixel_removal_rate": 0.98}
    farther = {"truth/psnr_inside/gan_sr": 24.0, "truth/psnr_inside/finetuned": 23.2}
    assert "inside the masks the images are farther" in str(doubt(satisfied | farther))
    assert doubt({"pixel_removal_rate": 0.5} | farther) is None
    other = {"ssim_share/before": 0.1, "ssim_share/after": 0.12}
    assert "ssim share rose from 10.0 to 12.0 %" in str(doubt(satisfied | other))
    assert doubt(satisfied | {"truth/psnr_inside/gan_sr": None}) is None
