"""The order in which images are annotated: what the detector is least sure of comes first."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from annotator.background import step_back
from annotator.mask_files import ImageFiles
from annotator.pictures import adjusted_distance, detected_mask, stamp
from annotator.store import Store
from datamodules.roles import FOLDER_NAMES
from desra.detectors import Detector, SSIMDetector
from desra.errors import InputError
from desra.files import find_images, write_text
from desra.rim import read_mask_of
from desra.uncertainty import disagreement, near_threshold

log = logging.getLogger(__name__)

Order = Literal["uncertain", "disagreement", "share", "name", "random", "list"]

_KEPT = "uncertainty.json"
_SAVE_EVERY = 20


@dataclass
class QueueOrder:
    """Keys in an order, and what is known of their priorities.

    Attributes:
        keys: all there is to do; where no priority is known, this order holds.
        known: key to priority, larger first.
        missing: keys whose priority has to be measured.
        measure_one: measures it.
        kept: the file that measured ones are kept in, with the names they have there.
    """

    keys: list[str]
    known: dict[str, float]
    missing: list[str]
    measure_one: Callable[[str], float] | None = None
    kept: Path | None = None
    names: Mapping[str, str] | None = None

    def measure(self, store: Store, stop: threading.Event) -> None:
        """Measure what is missing; the queue follows as it goes on. What fails comes last.

        The thread that does it keeps a low priority (`annotator.background`).
        """
        assert self.measure_one is not None
        step_back()
        fresh: dict[str, float] = {}
        for count, key in enumerate(self.missing, 1):
            if stop.is_set():
                break
            try:
                fresh[key] = self.measure_one(key)
            except (InputError, OSError) as error:
                log.warning("%s: not measured, comes last: %s", key, error)
            if count % _SAVE_EVERY == 0 or count == len(self.missing):
                store.set_priorities(fresh)
                self.known |= fresh
                self._keep()
                fresh = {}
        if fresh:
            store.set_priorities(fresh)
            self.known |= fresh
            self._keep()

    def _keep(self) -> None:
        if self.kept is not None and self.names is not None:
            values = {self.names[key]: value for key, value in self.known.items()}
            write_text(self.kept, json.dumps(values))


def queue_order(
    order: Order,
    images: Mapping[str, ImageFiles],
    root: Path,
    listed: str | Path | None,
    others: Sequence[str | Path],
    detector: Detector,
    output_dir: Path,
) -> QueueOrder:
    """The order of a queue.

    Args:
        order: ``uncertain``: the most mass of the distance near the detector's threshold first
            (`desra.uncertainty`); ``disagreement``: where ``DeSRA-Mask`` and ``others`` are
            furthest apart, or without any the detector and SSIM; ``share``: the largest artifact
            share; ``name``; ``random``, the same at every start; ``list``: as ``listed`` says.
        images: by key.
        root: of the artifact set.
        listed: a text file of keys; only these are done, in this order unless ``order`` is another.
        others: folders of other detectors' masks.
        detector: for ``uncertain``, and for ``disagreement`` without ``others``.
        output_dir: keeps what was measured.

    Raises:
        InputError: an order or a file that cannot be used.
    """
    if order not in get_args(Order):
        raise InputError(f"task.order={order}; give one of {', '.join(get_args(Order))}")
    if order == "list" and listed is None:
        raise InputError("task.order=list needs task.images=FILE, a text file of names")
    keys = list(images) if listed is None else _read_list(Path(listed), images)
    if order in ("name", "list"):
        return QueueOrder(keys, {}, [])
    if order == "random":
        return QueueOrder(random.Random(0).sample(keys, len(keys)), {}, [])
    roles: tuple[str, ...] = ("mse_sr", "gan_sr")
    if order == "uncertain":
        settings = json.dumps(detector.settings, sort_keys=True, default=str)

        def uncertainty(key: str) -> float:
            paths = images[key].paths
            adjusted = adjusted_distance(detector, paths["mse_sr"], paths["gan_sr"])
            return near_threshold(adjusted, detector.cutoff)

        measure_one = uncertainty
    elif order == "share":
        settings, roles = order, ("mask",)

        def measure_one(key: str) -> float:
            path = images[key].paths.get("mask")
            return -1.0 if path is None else float(np.mean(read_mask_of(path, images[key].size)))
    elif not others:
        detectors = [detector, SSIMDetector(min_area=detector.min_area)]
        settings = f"{order} {json.dumps([one.settings for one in detectors], default=str)}"

        def measure_one(key: str) -> float:
            paths = images[key].paths
            pair = paths["mse_sr"], paths["gan_sr"]
            return disagreement([detected_mask(one, *pair) for one in detectors])
    else:
        folders = [find_images(folder) for folder in (root / FOLDER_NAMES["mask"], *others)]
        settings, roles = f"{order} {[str(folder) for folder in others]}", ("mask",)

        def measure_one(key: str) -> float:
            found = [folder[key][0] for folder in folders if key in folder]
            return disagreement([read_mask_of(path, images[key].size) for path in found])

    names = {key: _name(settings, images[key], roles) for key in keys}
    kept = _read_kept(output_dir / _KEPT)
    known = {key: kept[name] for key, name in names.items() if name in kept}
    missing = [key for key in keys if key not in known]
    return QueueOrder(keys, known, missing, measure_one, output_dir / _KEPT, names)


def _name(settings: str, image: ImageFiles, roles: Sequence[str]) -> str:
    """Of a measured value: it changes with the settings and the files that it comes from."""
    files = [f"{role} {stamp(image.paths[role])}" for role in roles if role in image.paths]
    text = "\n".join([settings, image.key, *files])
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=12).hexdigest()


def _read_kept(path: Path) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return {}  # measured anew


def _read_list(path: Path, images: Mapping[str, ImageFiles]) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; give a text file of names, one a line") from error
    keys = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    unknown = [key for key in keys if key not in images]
    if unknown:
        raise InputError(
            f"{path}: {unknown[0]}: no image has this relative path without suffix"
            + (f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else "")
        )
    if not keys:
        raise InputError(f"{path}: no names in it; give relative paths without suffix, one a line")
    return keys
