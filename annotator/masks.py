"""Labelling the artifacts of a GAN upscaling: what the server does with what the page says."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annotator.agreement_table import AgreementTable
from annotator.background import step_back
from annotator.finetuning import Finetuning
from annotator.journal import Conflict, Journal, Status, Step, Work
from annotator.mask_files import LAYERS, MaskFiles
from annotator.pictures import Recent, adjusted_distance, encode_png, stamp
from annotator.present_masks import PresentMasks
from annotator.queueing import Order, queue_order
from annotator.runs import decode_runs, encode_runs
from annotator.store import Annotator, Item, Store
from desra.detectors import Detector
from desra.errors import InputError
from desra.files import write_table
from desra.images import image_size
from desra.labelme_writing import Shapes
from desra.masks import read_mask_image
from desra.metrics.mask_agreement import majority_mask

log = logging.getLogger(__name__)

TABLE = "masks.csv"
COLUMNS = ("image", "annotator", "status", "seconds", "actions")
TOOLS = ("brush", "eraser", "polygon", "cut", "fill", "clear", "holes", "accept", "reject", "all")


class MaskTask:
    """Masks of artifacts, corrected from what was detected or drawn anew.

    Args:
        root: an artifact set: ``MSE-SR``, ``GAN-SR`` and perhaps ``LR``, ``DeSRA-Mask``,
            ``GT-Mask``, as detect.py leaves them.
        output_dir: gets the database and what is not part of an artifact set.
        detector: gives the distance that is shown, filled by, and that orders the queue.
        order: of the queue; see `annotator.queueing.queue_order`.
        images: a text file of keys, one a line: these, in this order.
        others: folders of masks of other detectors, whose disagreement with ``DeSRA-Mask`` orders
            the queue; none: that of the detector and SSIM.
        labels: see `MaskFiles`, as ``labelme``, ``coco`` and ``copies``.
        labelme: LabelMe's JSON, too, its regions as ``polygon`` or ``mask``.
        coco: COCO's JSON, too.
        copies: how many annotators do each image.
        kinds: names of kinds of artifacts to choose from.
        lease_minutes: an image that nothing was done to for so long may go to another annotator.
        finetune: overrides of train.py for the runs that the page starts.

    Raises:
        InputError: folders, images or settings that cannot be used.
    """

    name = "masks"
    title = "Masks"
    scripts = (
        *("runs.js", "raster.js", "saving.js", "flow.js", "ink.js", "mask_tools.js"),
        *("mask_regions.js", "mask_queue.js", "masks.js"),
    )

    def __init__(
        self,
        root: str | Path,
        output_dir: str | Path,
        detector: Detector,
        order: Order = "uncertain",
        images: str | Path | None = None,
        others: Sequence[str | Path] = (),
        labels: str | Path | None = None,
        labelme: Shapes | None = None,
        coco: bool = False,
        copies: int = 1,
        kinds: Sequence[str] = (),
        lease_minutes: float = 30,
        finetune: Sequence[str] = (),
    ) -> None:
        if copies < 1:
            raise InputError(f"task.copies={copies}; give 1 or more")
        if labelme not in (None, "polygon", "mask"):
            raise InputError(f"task.labelme={labelme}; give polygon, mask or null")
        self.root, self.output_dir = Path(root), Path(output_dir)
        self.files = MaskFiles(self.root, self.output_dir, labels, labelme, coco, copies)
        self.detector, self.copies, self.kinds = detector, copies, list(kinds)
        self.lease_seconds = 60 * lease_minutes
        self.finetuning = Finetuning(self.root, self.output_dir, finetune)
        self._distances: Recent[bytes] = Recent(12)
        self._measuring = ThreadPoolExecutor(1, "distance", initializer=step_back)
        self._lock = threading.RLock()
        self._agreement = AgreementTable(self.output_dir)
        self._order, self._list, self._others = order, images, others
        self._stop = threading.Event()
        self._ordering: threading.Thread | None = None

    def start(self, store: Store) -> None:
        """Take the database, say what there is to do, and begin to order the queue."""
        self.store, self.journal = store, Journal(store)
        self._masks = PresentMasks(self.journal)
        order = queue_order(
            *(self._order, self.files.images, self.root, self._list, self._others),
            *(self.detector, self.output_dir),
        )
        store.set_items([(key, {}) for key in order.keys])
        store.clear_priorities()
        store.set_priorities(order.known)
        for item in store.items():
            if votes := self.journal.votes(item):
                path = self.files.gt_path(item.key)
                if path.is_file():
                    self.files.write_scores(item.key, read_mask_image(path), votes)
        if order.missing:
            self._ordering = threading.Thread(
                target=order.measure, args=(store, self._stop), name="queue order", daemon=True
            )
            self._ordering.start()

    def stop(self) -> None:
        """End what runs beside."""
        self.finetuning.stop()
        self._measuring.shutdown(cancel_futures=True)
        self._stop.set()
        if self._ordering is not None:
            self._ordering.join()

    def describe(self) -> dict[str, Any]:
        """What the page needs to know before the first image."""
        return {
            "kinds": self.kinds,
            "cutoff": 1 - self.detector.cutoff,
            "formats": [name for name, on in self._formats().items() if on],
        }

    def _formats(self) -> dict[str, bool]:
        return {"LabelMe": self.files.labelme is not None, "COCO": self.files.coco}

    # --- opening

    def next(
        self, annotator: Annotator, without: Sequence[int] = (), opened: bool = True
    ) -> dict[str, Any] | None:
        """The next image of the queue, lent to the annotator; None where nothing is left."""
        left_out = list(without)
        while True:
            item = self.store.claim(
                annotator,
                copies=self.copies,
                seconds=self.lease_seconds,
                opened=opened,
                without=left_out,
            )
            if item is None:
                return None
            try:
                return self._payload(item, annotator)
            except (InputError, OSError) as error:
                log.warning("%s: left out of the queue: %s", item.key, error)
                self.store.release(item, annotator)
                left_out.append(item.id)

    def open(self, item: Item, annotator: Annotator) -> dict[str, Any]:
        """A certain image, lent to the annotator.

        Raises:
            Conflict: it is with another.
            InputError: it cannot be read.
        """
        self._lend(item, annotator)
        return self._payload(item, annotator)

    def _lend(self, item: Item, annotator: Annotator) -> None:
        if not self.store.lend(item, annotator, copies=self.copies, seconds=self.lease_seconds):
            raise Conflict(f"{item.key} is with another annotator")

    def _work(self, item: Item, annotator: Annotator) -> Work:
        work = self.journal.find(item, annotator)
        if work is not None:
            return work
        mask, source = self.files.first_mask(self.files.images[item.key])
        start = {"size": mask.shape, "source": source}
        return self.journal.begin(item, annotator, start, encode_runs(mask))

    def _payload(self, item: Item, annotator: Annotator) -> dict[str, Any]:
        image = self.files.images[item.key]
        work = self._work(item, annotator)
        height, width = work.start["size"]
        if image.size != (height, width):
            raise InputError(
                f"{image.paths['gan_sr']}: of another size than when it was annotated; "
                "put the old image back"
            )
        layers = []
        for role, name in LAYERS.items():
            if role in image.paths:
                path = image.paths[role]
                layers.append(
                    {
                        "name": name,
                        "url": f"items/{item.id}/{role}?v={stamp(path)}",
                        "width": image_size(path)[1],
                    }
                )
        stamps = "-".join(stamp(image.paths[role]) for role in ("mse_sr", "gan_sr"))
        mine = {
            (vote.x, vote.y): {"x": vote.x, "y": vote.y, "noticed": vote.noticed, "kind": vote.kind}
            for vote in self.journal.votes(item)
            if vote.annotator == annotator.name
        }
        assert work.base is not None
        return {
            "id": item.id,
            "key": item.key,
            "width": width,
            "height": height,
            "layers": layers,
            "distance": f"items/{item.id}/distance?v={stamps}",
            "source": work.start["source"],
            "base": _text(work.base),
            "actions": [
                {
                    "tool": action.tool,
                    "detail": action.detail,
                    "runs": action.pixels and _text(action.pixels),
                    "state": action.state,
                }
                for action in self.journal.actions(work)
            ],
            "votes": list(mine.values()),
            "version": work.version,
            "status": work.status,
            "seconds": work.seconds,
        }

    def picture(self, item: Item, layer: str) -> Path | None:
        """The file of a layer, if the image has it."""
        return self.files.images[item.key].paths.get(layer) if layer in LAYERS else None

    def distance(self, item: Item) -> bytes:
        """1 − D' in 256 levels as a grey PNG: bright where an artifact is likely.

        Raises:
            InputError: the upscalings cannot be read or compared.
        """
        paths = self.files.images[item.key].paths

        def make() -> bytes:
            adjusted = adjusted_distance(self.detector, paths["mse_sr"], paths["gan_sr"])
            return encode_png(np.round((1 - adjusted.clip(0, 1)) * 255).astype(np.uint8))

        key = item.id, stamp(paths["mse_sr"]), stamp(paths["gan_sr"])
        return self._measuring.submit(self._distances.get, key, make).result()

    # --- doing

    def act(
        self,
        item: Item,
        annotator: Annotator,
        step: Step,
        tool: str,
        detail: Mapping[str, Any],
        runs: str | None,
    ) -> int:
        """Note an action and bring the files up to date; the work's version.

        Raises:
            Conflict: the image is with another, or was changed elsewhere.
            InputError: pixels that are not of this image, or no such tool.
        """
        if tool not in TOOLS:
            raise InputError(f"no tool is called {tool[:40]!r}")
        with self._lock:
            self._lend(item, annotator)
            work = self._work(item, annotator)
            pixels = _bytes(runs) if runs else None
            if pixels is not None:
                decode_runs(pixels, tuple(work.start["size"]))
            before = self._masks.of(work)
            if self.journal.act(work, step, tool, detail, pixels):
                self._masks.turned(work, step.version, before, pixels)
            self._export(item, annotator, self._masks.of(work))
            return step.version

    def turn(
        self, item: Item, annotator: Annotator, step: Step, direction: Literal["undo", "redo"]
    ) -> int:
        """Undo or do again; the work's version. Raises as `act`."""
        with self._lock:
            self._lend(item, annotator)
            work = self._work(item, annotator)
            before = self._masks.of(work)
            action = self.journal.turn(work, step, direction)
            if action is not None:
                self._masks.turned(work, step.version, before, action.pixels)
            self._export(item, annotator, self._masks.of(work))
            return step.version

    def finish(self, item: Item, annotator: Annotator, step: Step, status: Status) -> int:
        """Say that an image is done, skipped, or open again. Raises as `act`."""
        with self._lock:
            self._lend(item, annotator)
            work = self._work(item, annotator)
            if self.journal.finish(work, step, status):
                if status == "done":
                    self._export(item, annotator, self._masks.of(work))
                if status != "open":
                    self.store.release(item, annotator)
                if status == "done" and self.copies > 1:
                    self._export_majority(item)
                self.write_table()
            return step.version

    def vote(
        self, item: Item, annotator: Annotator, x: int, y: int, noticed: bool | None, kind: str
    ) -> None:
        """Note what an annotator says of the region at a pixel.

        Raises:
            InputError: the pixel is in no region of the mask.
        """
        with self._lock:
            mask = self._masks.of(self._work(item, annotator))
            if not (0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x]):
                raise InputError(f"{item.key}: x={x}, y={y} is in no region of the mask")
            self.journal.vote(item, annotator, x, y, noticed, kind.strip()[:80])
            self._export(item, annotator, mask)

    # --- files

    def _export(self, item: Item, annotator: Annotator, mask: NDArray[np.bool_]) -> None:
        image, votes = self.files.images[item.key], self.journal.votes(item)
        several = self.copies > 1
        self.files.write_mask(image, mask, votes, annotator.name if several else None)
        if votes and not several:
            self.files.write_scores(item.key, mask, votes)

    def _done(self, item: Item) -> list[Work]:
        return self.journal.works("item = ? AND status = 'done' AND repeat = 0", item.id)

    def _export_majority(self, item: Item) -> None:
        works = self._done(item)
        if len(works) < self.copies:
            return
        image = self.files.images[item.key]
        masks = np.stack([self._masks.of(work) for work in works])
        mask = majority_mask(masks)
        self._agreement.add(item.key, masks, image.paths.get("mask"))
        votes = self.journal.votes(item)
        self.files.write_mask(image, mask, votes)
        if votes:
            self.files.write_scores(item.key, mask, votes)

    def write_table(self) -> None:
        """``masks.csv``: a row for each image and annotator."""
        rows = self.store.rows(
            "SELECT key, name, status, seconds, (SELECT count(*) FROM action "
            "WHERE work = work.id AND state = 'done') AS actions "
            "FROM work JOIN item ON item.id = item JOIN annotator ON annotator.id = annotator "
            "ORDER BY key, name"
        )
        write_table(
            self.output_dir / TABLE,
            (
                {
                    "image": row["key"],
                    "annotator": row["name"],
                    "status": row["status"],
                    "seconds": round(row["seconds"], 1),
                    "actions": row["actions"],
                }
                for row in rows
            ),
            COLUMNS,
        )


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise InputError("pixels that are not in base64; reload the page") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
