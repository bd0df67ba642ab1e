"""Areas of the regions of one mask, and how much of each another mask covers."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def region_overlaps(regions_of: Tensor, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image index, area, and covered pixels of every 8-connected region, int64 ``(N,)`` each."""
    device = regions_of.device
    images, areas, overlaps = [], [], []
    for index, (mask, cover) in enumerate(zip(regions_of.cpu(), inside.cpu(), strict=True)):
        count, labels = cv2.connectedComponents(mask[0].numpy().view(np.uint8), connectivity=8)
        areas.append(np.bincount(labels.ravel(), minlength=count)[1:])
        overlaps.append(np.bincount(labels[cover[0].numpy()], minlength=count)[1:])
        images.append(np.full(count - 1, index))
    return tuple(
        torch.from_numpy(np.concatenate(parts).astype(np.int64)).to(device)
        for parts in (images, areas, overlaps)
    )  # type: ignore[return-value]
