"""Sets with a table of labels: SR-Prominence, and the boxes of JPEG AI."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datamodules.benchmark_sets.base import BenchmarkImage, BenchmarkSet
from desra.benchmark_labels import LabelPart
from desra.errors import InputError
from desra.files import find_images


class Table(BenchmarkSet):
    """A table with one row a labelled mask or box, and the images it names: SR-Prominence.

    Args:
        root: the set's folder.
        table: file in it, CSV or JSON lines.
        columns: what each column is called: ``gan_sr`` (the output, a path) and ``mask`` (a path),
            or ``x``, ``y``, ``width``, ``height`` of a box; ``score``, the share of viewers, or
            ``votes`` and ``viewers``; and paths of references and ``lr``. Others are passed over.
        where: column to value: only these rows (a subset, a split).
        box: width and height of boxes whose columns say only where they begin or lie.
        kwargs: of `BenchmarkSet`.
    """

    home = "https://huggingface.co/datasets/imolodetskikh/sr-artifact-prominence"
    licence = "mixed, per subset"

    def __init__(
        self,
        root: str | Path | None,
        table: str,
        columns: Mapping[str, str],
        where: Mapping[str, str] | None = None,
        box: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.table, self.columns = table, dict(columns)
        self.where, self.box = dict(where or {}), box

    def find(self) -> Iterable[BenchmarkImage]:
        """See the class."""
        found: dict[str, tuple[dict[str, Path], list[LabelPart]]] = {}
        for place, row in self._rows():
            cells = {role: row[name] for role, name in self.columns.items() if row.get(name)}
            if "gan_sr" not in cells:
                raise InputError(f"{place}: no {self.columns.get('gan_sr', 'gan_sr')}; see columns")
            key = Path(cells["gan_sr"]).with_suffix("").as_posix()
            roles = ("gan_sr", "mse_sr", "hr", "lr", "bicubic", "rlfn", "span", "after")
            paths = {role: self._file(place, cells[role]) for role in roles if role in cells}
            known = found.setdefault(key, (paths, []))
            part = self._part(place, cells)
            if part is not None:
                known[1].append(part)
        for key, (paths, parts) in found.items():
            yield BenchmarkImage(key, paths, tuple(parts))

    def _rows(self) -> Iterable[tuple[str, Mapping[str, str]]]:
        path = self.folder / self.table
        if not path.is_file():
            raise InputError(f"{path}: no such file; name the set's table")
        with path.open(newline="", encoding="utf-8-sig") as file:
            if path.suffix == ".jsonl":
                rows: Iterable[Any] = [json.loads(line) for line in file if line.strip()]
                names = {name for row in rows for name in row}
            else:
                reader = csv.DictReader(file)
                names = set(reader.fieldnames or ())
                rows = list(reader)
        wanted = {*self.columns.values(), *self.where}
        if lacking := sorted(wanted - names):
            raise InputError(
                f"{path}: no column {', '.join(lacking)}; it has {', '.join(sorted(names))}: "
                "say with columns.ROLE=NAME which is which"
            )
        for number, row in enumerate(rows, 2):
            if all(str(row[name]) == str(value) for name, value in self.where.items()):
                yield f"{path}, line {number}", row

    def _file(self, place: str, name: str) -> Path:
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{place}: {name} leads out of {self.folder}; give a path within it")
        if not path.is_file():
            raise InputError(f"{place}: {name}: no such file; fetch the whole set")
        return path

    def _part(self, place: str, cells: Mapping[str, str]) -> LabelPart | None:
        score = self._score(place, cells)
        if "mask" in cells:
            return LabelPart(self._file(place, cells["mask"]), score=score)
        if "x" not in cells:
            return None
        try:
            x, y = (int(float(cells[name])) for name in ("x", "y"))
            size = self.box or tuple(int(float(cells[name])) for name in ("width", "height"))
        except (KeyError, ValueError) as error:
            raise InputError(f"{place}: a box without numbers ({error}); see columns") from error
        return LabelPart(box=(x, y, size[0], size[1]), score=score)

    def _score(self, place: str, cells: Mapping[str, str]) -> float | None:
        try:
            if "score" in cells:
                score = float(cells["score"])
            elif "votes" in cells:
                score = float(cells["votes"]) / float(cells["viewers"])
            else:
                return None
        except (KeyError, ValueError, ZeroDivisionError) as error:
            raise InputError(f"{place}: no share of viewers ({error}); see columns") from error
        if not 0 <= score <= 1:
            raise InputError(f"{place}: a score of {score:g}; give the share of viewers, 0 to 1")
        return score


class JPEGAI(BenchmarkSet):
    """JPEG AI's test images: ``{orig,ai,classic}/<n>.png``, and a table of boxes.

    The output that is judged is the AI codec's; the original is ``hr``, and the traditional codec's
    picture, which a region must not lack, ``classic``. A table's row: ``image,x,y`` and, where
    viewers were asked, ``score``; boxes are 300 pixels a side around their maximum.

    Args:
        root: the set's folder.
        table: of the boxes, in it.
        side: of the boxes.
        columns: what the columns are called: ``image``, ``x``, ``y`` (left top corner), ``score``.
        kwargs: of `BenchmarkSet`.
    """

    home = "https://github.com/msu-video-group/jpeg-ai-artifacts"
    licence = "of its repository; the pictures are of Open Images (CC BY 2.0)"

    def __init__(
        self,
        root: str | Path | None,
        table: str = "boxes.csv",
        side: int = 300,
        columns: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        default = {"image": "image", "x": "x", "y": "y", "score": "score"}
        self.table, self.side, self.columns = table, side, {**default, **(columns or {})}

    def find(self) -> Iterable[BenchmarkImage]:
        """See the class."""
        boxes = _boxes(self.folder / self.table, self.columns, self.side)
        folders = {"gan_sr": "ai", "hr": "orig", "classic": "classic"}
        images = {role: find_images(self.folder / name) for role, name in folders.items()}
        for key in images["gan_sr"]:
            paths = {role: found[key][0] for role, found in images.items() if key in found}
            yield BenchmarkImage(key, paths, tuple(boxes.get(key, ())))


def _boxes(path: Path, columns: Mapping[str, str], side: int) -> dict[str, list[LabelPart]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the table of boxes, table=FILE")
    boxes: dict[str, list[LabelPart]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        needed = [columns[name] for name in ("image", "x", "y")]
        if lacking := [name for name in needed if name not in (reader.fieldnames or ())]:
            raise InputError(f"{path}: no column {', '.join(lacking)}; say with columns.x=NAME")
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            try:
                x, y = (int(float(row[columns[name]])) for name in ("x", "y"))
                text = row.get(columns["score"])
                score = float(text) if text else None
            except ValueError as error:
                raise InputError(f"{place}: {error}; give numbers") from error
            key = Path(row[columns["image"]]).with_suffix("").as_posix()
            boxes.setdefault(key, []).append(LabelPart(box=(x, y, side, side), score=score))
    return boxes
