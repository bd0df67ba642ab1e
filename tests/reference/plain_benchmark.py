"""A benchmark's rows as anyone would compute them from files: NumPy, SciPy, Pillow, and no `desra`.

Each layout is read by a few lines of its own; detection is `plain_detection`.
"""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from tests.reference.plain_detection import plain_distance, plain_mask

Item = dict[str, Any]
RIM = 5


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def bicubic(lr: NDArray, like: NDArray) -> NDArray[np.uint8]:
    size = like.shape[1], like.shape[0]
    return np.asarray(Image.fromarray(lr).resize(size, Image.Resampling.BICUBIC))


def box(shape: tuple[int, ...], left: int, top: int, width: int, height: int) -> NDArray[np.bool_]:
    mask = np.zeros(shape[:2], bool)
    mask[top : top + height, left : left + width] = True
    return mask


def release(root: Path, reference: str) -> list[Item]:
    """Items of ``<method>/{LR,MSE-SR,GAN-SR,GT-Mask}`` and ``regions.csv``."""
    items = []
    for method in sorted(path for path in root.iterdir() if path.is_dir()):
        rows = list(csv.DictReader((method / "regions.csv").open()))
        for path in sorted((method / "GAN-SR").iterdir()):
            gan_sr = read(path)
            mask = read(method / "GT-Mask" / path.name)[..., 0] > 0
            labels, _ = ndimage.label(mask, np.ones((3, 3)))
            scored = [
                (labels == labels[int(row["y"]), int(row["x"])], float(row["score"]))
                for row in rows
                if row["image"] == path.stem
            ]
            paired = read(method / "MSE-SR" / path.name)
            if reference == "bicubic":
                paired = bicubic(read(method / "LR" / path.name), gan_sr)
            items.append({"gan_sr": gan_sr, "reference": paired, "mask": mask, "scored": scored})
    return items


def sr_prominence(root: Path, reference: str) -> list[Item]:
    """Items of ``metadata.csv`` with a row a mask; those of one subset."""
    items: dict[str, Item] = {}
    for row in csv.DictReader((root / "metadata.csv").open()):
        if row["subset"] != "open_images":
            continue
        gan_sr = read(root / row["sr_image"])
        item = items.setdefault(
            row["sr_image"],
            {
                "gan_sr": gan_sr,
                "reference": bicubic(read(root / row["lr_image"]), gan_sr)
                if reference == "bicubic"
                else read(root / row[f"{reference}_image"]),
                "mask": np.zeros(gan_sr.shape[:2], bool),
                "scored": [],
            },
        )
        if row["mask"]:
            mask = read(root / row["mask"])[..., 0] > 0
            item["mask"] = item["mask"] | mask
            item["scored"].append((mask, int(row["votes"]) / int(row["viewers"])))
    return list(items.values())


def heat(path: Path) -> NDArray[np.bool_]:
    with gzip.open(path) as file:
        return np.load(file)[..., 0] >= 0.5


def sr_ground(root: Path, reference: str) -> list[Item]:
    """Items of ``datasets/*/X@SR@`` and ``outputs/*/sr_artifacts/X.npy.gz``."""
    tag = {"hr": "", "bicubic": "@RF@"}[reference]
    items = []
    for path in sorted((root / "datasets").glob("*/*@SR@.png")):
        name = path.name.removesuffix("@SR@.png")
        maps = root / "outputs" / path.parent.name / "sr_artifacts" / f"{name}.npy.gz"
        paired = read(path.with_name(f"{name}{tag}.png"))
        items.append({"gan_sr": read(path), "reference": paired, "mask": heat(maps), "scored": []})
    return items


def jpeg_ai(root: Path, reference: str, side: int) -> list[Item]:
    """Items of ``ai/`` and ``boxes.csv``."""
    folder = {"hr": "orig", "classic": "classic"}[reference]
    rows = list(csv.DictReader((root / "boxes.csv").open()))
    items = []
    for path in sorted((root / "ai").iterdir()):
        gan_sr = read(path)
        scored = [
            (box(gan_sr.shape, int(row["x"]), int(row["y"]), side, side), float(row["score"]))
            for row in rows
            if row["image"] == path.name
        ]
        mask = np.zeros(gan_sr.shape[:2], bool)
        for one, _ in scored:
            mask |= one
        paired = read(root / folder / path.name)
        items.append({"gan_sr": gan_sr, "reference": paired, "mask": mask, "scored": scored})
    return items


def qualisr(root: Path, reference: str) -> list[Item]:
    """Items of ``sr/<method>/`` and ``heatmaps/<method>/``."""
    items = []
    for path in sorted((root / "sr").glob("*/*.png")):
        gan_sr = read(path)
        maps = root / "heatmaps" / path.parent.name / f"{path.stem}.npy.gz"
        if reference == "bicubic":
            paired = bicubic(read(root / "lr" / path.name), gan_sr)
        else:
            folder = {"hr": root / "hr", "rlfn": root / "ref" / "RLFN"}[reference]
            paired = read(folder / path.name)
        items.append({"gan_sr": gan_sr, "reference": paired, "mask": heat(maps), "scored": []})
    return items


def folder(root: Path, reference: str) -> list[Item]:
    """Items of ``sr/``, ``masks/`` and ``after/``."""
    items = []
    for path in sorted((root / "sr").rglob("*.png")):
        name, gan_sr = path.relative_to(root / "sr"), read(path)
        paired = bicubic(read(root / "lr" / name), gan_sr)
        if reference == "hr":
            paired = read(root / "hr" / name)
        items.append({
            "gan_sr": gan_sr, "reference": paired, "scored": [],
            "mask": read(root / "masks" / name)[..., 0] > 0, "after": read(root / "after" / name),
        })  # fmt: skip
    return items


def shares(mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> list[float]:
    """Of each 8-connected region the share of its pixels that lie inside."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return [float(inside[labels == number].mean()) for number in range(1, count + 1)]


def region_scores(
    pairs: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> dict[str, float | None]:
    """Region precision, recall, F1 and mean IoU of detected and labelled masks."""
    detected = [share for mask, gt in pairs for share in shares(mask, gt)]
    labelled = [share for mask, gt in pairs for share in shares(gt, mask)]
    ious = [(mask & gt).sum() / (mask | gt).sum() for mask, gt in pairs if (mask | gt).any()]
    precision = sum(share >= 0.5 for share in detected) / len(detected) if detected else None
    recall = sum(share >= 0.5 for share in labelled) / len(labelled) if labelled else None
    p, r = precision or 0, recall or 0
    f1 = None if precision is None and recall is None else 2 * p * r / (p + r) if p + r else 0
    iou = float(np.mean(ious)) if ious else None
    return {"precision": precision, "recall": recall, "f1": f1, "iou": iou}


def area_below(distance: NDArray, labelled: NDArray[np.bool_]) -> float:
    """Average precision over 1000 bins of the distance."""
    bins = np.minimum((distance * 1000).astype(int), 999)
    area, hits, below, total = 0.0, 0, 0, int(labelled.sum())
    for number in np.unique(bins):
        here = bins == number
        found = int((here & labelled).sum())
        hits, below = hits + found, below + int(here.sum())
        area += found / total * hits / below
    return area


def ranks(values: list[float]) -> NDArray[np.float64]:
    """From 1, equal ones sharing their mean."""
    array = np.array(values)
    return np.array([((array < v).sum() + 1 + (array <= v).sum()) / 2 for v in values])


def spearman(first: list[float], second: list[float]) -> float:
    a, b = (ranks(values) - (len(first) + 1) / 2 for values in (first, second))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def kendall(first: list[float], second: list[float]) -> float:
    concordant = ties_a = ties_b = pairs = 0
    for i in range(len(first)):
        for j in range(i):
            a, b = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
            concordant += a * b
            ties_a, ties_b, pairs = ties_a + (a == 0), ties_b + (b == 0), pairs + 1
    return float(concordant / np.sqrt((pairs - ties_a) * (pairs - ties_b)))


def measures(items: list[Item], min_area: int, level: float = 0.5) -> dict[str, float | None]:
    """All measures of DeSRA's detector on the items."""
    inside = (slice(RIM, -RIM), slice(RIM, -RIM))
    plain, prominent, after, pixels = [], [], [], np.zeros(3)
    distances, labelled, responses, scores, found = [], [], [], [], []
    for item in items:
        distance = plain_distance(item["reference"], item["gan_sr"])
        mask, gt = plain_mask(distance, min_area=min_area), item["mask"][inside]
        plain.append((mask, gt))
        pixels += [(mask & gt).sum(), (mask & ~gt).sum(), (~mask & gt).sum()]
        distances.append(distance.ravel())
        labelled.append(gt.ravel())
        owner = np.zeros(gt.shape, int)
        scored = sorted(item["scored"], key=lambda pair: pair[1])
        for number, (region, _) in enumerate(scored, 1):
            owner[region[inside]] = number
        for number, (_, score) in enumerate(scored, 1):
            responses.append(float((1 - distance[owner == number]).mean()))
            found.append(float(mask[owner == number].mean()))
            scores.append(score)
        noticed = np.isin(owner, [n for n, (_, s) in enumerate(scored, 1) if s >= level])
        if scored or not gt.any():
            prominent.append((mask, noticed))
        if "after" in item:
            then = plain_mask(plain_distance(item["reference"], item["after"]), min_area=min_area)
            after.append((then, gt))
    hits, false, lost = pixels
    row = region_scores(plain) | {
        "pixel_precision": hits / (hits + false),
        "pixel_recall": hits / (hits + lost),
        "pixel_f1": 2 * hits / (2 * hits + false + lost),
        "pr_auc": area_below(np.concatenate(distances), np.concatenate(labelled)),
    }
    if prominent:
        of_prominent = region_scores(prominent)
        row |= {f"prominent_{name}": of_prominent[name] for name in ("iou", "precision", "recall")}
    if scores:
        row["spearman"], row["kendall"] = spearman(responses, scores), kendall(responses, scores)
        confirmed = [share >= 0.5 for share, s in zip(found, scores, strict=True) if s >= level]
        row |= {"masks_found": sum(confirmed), "masks_confirmed": len(confirmed)}
    if after:
        row["delta_iou"] = region_scores(plain)["iou"] - (region_scores(after)["iou"] or 0)
    return row
