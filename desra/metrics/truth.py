"""Comparison with the true image: artifacts by structure, and whether an output came nearer to it.

Where the true image is known, something else than the detector can say what is an artifact: pixels
where GAN-SR has lost structure of the truth that MSE-SR has kept. Structure is SSIM's (Wang et al.,
TIP 2004) at three scales, that is, correlation with the truth; DeSRA's distance compares strengths
of texture alone and knows no truth. People's notice of artifacts follows it (SR-Prominence).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from desra.detectors.ssim import local_ssim
from desra.metrics.detail import RegionDISTS, RegionLPIPS, region_psnr
from desra.morphology import dilate, erode
from desra.pseudo_gt import compose
from desra.regions import remove_small_regions

SCALES = (1, 2, 4)
"""Sides of the squares that are averaged before structure is compared: worms are wider than a
pixel, and at full size alone even the texture of one leaf would not correlate with another's."""
LOST = 0.15
"""Structure that GAN-SR must lack beside MSE-SR, of at most 1."""
VISIBLE = 4.0
"""Levels (of 255, root mean square) by which an artifact must miss the truth: SSIM alone would also
mark noise of one level in black."""
CANDIDATES = ("gan_sr", "finetuned", "mse_sr", "repaired")
"""What is compared with the truth; repaired: MSE-SR where an artifact was, GAN-SR elsewhere."""
TRUTH_COLUMNS = {
    f"truth_{measure}_{part}_{name}": f"truth/{measure}_{part}/{name}"
    for measure in ("psnr", "ssim", "lpips", "dists")
    for part in ("inside", "outside")
    for name in CANDIDATES
} | {f"structural_share_{when}": f"structural_share/{when}" for when in ("before", "after")}
"""Columns of a row with the names of the metrics, means over the images that have them."""


def structure(truth: Tensor, images: Tensor) -> Tensor:
    """SSIM with the truth at every pixel, the mean of `SCALES`.

    Args:
        truth: uint8 ``(B, 3, H, W)``, no side below 24 pixels.
        images: likewise.

    Returns:
        ``(B, 1, H, W)`` float64 in [0, 1].

    Example:
        >>> truth = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
        >>> round(float(structure(truth, truth).mean()), 6)
        1.0
    """
    total = torch.zeros_like(truth[:, :1], dtype=torch.float64)
    for side in SCALES:
        pair = [F.avg_pool2d(levels.double(), side, ceil_mode=True) for levels in (truth, images)]
        similarity = local_ssim(*pair).clamp(0, 1)
        total += F.interpolate(similarity, size=total.shape[-2:], mode="bilinear")
    return total / len(SCALES)


def structural_artifacts(
    truth: Tensor, mse_sr: Tensor, images: Tensor, lost: float = LOST, min_area: int = 0
) -> Tensor:
    """Where an output lacks structure of the truth that MSE-SR has.

    Pixels become regions by an opening of 7×7, which drops what is thinner, and by leaving out
    those of up to ``min_area`` pixels.

    Args:
        truth: the true image, uint8 ``(B, 3, H, W)``.
        mse_sr: likewise.
        images: GAN-SR, or what finetuning made of it, likewise.
        lost: see `LOST`.
        min_area: a region needs more pixels than this.

    Returns:
        ``(B, 1, H, W)`` bool.
    """
    missing = structure(truth, mse_sr) - structure(truth, images) > lost
    error = (truth.double() - images.double()).square().mean(1, keepdim=True)
    missing &= F.avg_pool2d(error, 11, 1, 5, count_include_pad=False) > VISIBLE**2
    return remove_small_regions(dilate(erode(missing, 7), 7), min_area)


def truth_columns(
    truth: Tensor,
    mse_sr: Tensor,
    gan_sr: Tensor,
    finetuned: Tensor,
    before: Tensor,
    known: Tensor,
    lpips: RegionLPIPS | None = None,
    dists: RegionDISTS | None = None,
) -> dict[str, Tensor]:
    """PSNR, SSIM, LPIPS and DISTS of `CANDIDATES` against the truth, and the share of pixels that
    have lost structure, before and after finetuning.

    Args:
        truth: the true images, uint8 ``(B, 3, H, W)``.
        mse_sr: likewise, as the next two.
        gan_sr: of the original generator.
        finetuned: of the finetuned one.
        before: detected in ``gan_sr``, bool ``(B, 1, H, W)``: where repair takes MSE-SR.
        known: detected or labelled artifacts: what is inside.
        lpips: measures perceptual distance too.
        dists: likewise.

    Returns:
        a float64 ``(B,)`` for each name of `TRUTH_COLUMNS`; NaN where there are no such pixels.
    """
    repaired = compose(mse_sr, gan_sr, before)
    images = dict(zip(CANDIDATES, (gan_sr, finetuned, mse_sr, repaired), strict=True))
    parts = {"inside": known, "outside": ~known}
    columns = {}
    for name, image in images.items():
        similarity = local_ssim(truth, image)
        for part, region in parts.items():
            ending = f"{part}_{name}"
            columns[f"truth_psnr_{ending}"] = region_psnr(image, truth, region)
            pixels = region.flatten(1).sum(1)
            columns[f"truth_ssim_{ending}"] = (similarity * region).flatten(1).sum(1) / pixels
            if lpips is not None:
                columns[f"truth_lpips_{ending}"] = lpips(image, truth, region)
            if dists is not None:
                columns[f"truth_dists_{ending}"] = dists(image, truth, region)
    for when, image in (("before", gan_sr), ("after", finetuned)):
        lost = structural_artifacts(truth, mse_sr, image)
        columns[f"structural_share_{when}"] = lost.flatten(1).double().mean(1)
    return columns
