"""Model card and OpenModelDB entry of an exported model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from torch import nn

from desra.files import write_text
from models.exporting.proof import Proof
from models.generators import RRDBNet, SRVGGNetCompact, SwinIR
from models.generators.loading import program_version

CARD = "model_card.md"

_PLATFORMS = {".pth": "pytorch", ".safetensors": "pytorch", ".onnx": "onnx"}
_IDS = {"RRDBNet": "esrgan", "SRVGGNetCompact": "compact"}


@dataclass(frozen=True)
class About:
    """What only a person can say of a model.

    Attributes:
        name: of the model.
        author: who made it.
        license: an SPDX expression, https://spdx.org/licenses.
        description: in Markdown.
        tags: OpenModelDB's, https://openmodeldb.info.
    """

    name: str
    author: str | None = None
    license: str | None = None
    description: str = ""
    tags: Sequence[str] = ()


@dataclass
class Exported:
    """A model in one format.

    Attributes:
        files: what was written.
        proof: how it was proven.
        sha256: of each file, in order.
    """

    form: str
    precision: str
    files: list[Path]
    proof: Proof
    sha256: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.sha256 = [sha256(path) for path in self.files]


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def architecture_of(network: nn.Module) -> tuple[str, list[str]]:
    """Its name, and OpenModelDB's tags of its size."""
    if isinstance(network, RRDBNet):
        return "RRDBNet", [f"{network.conv_first.out_channels}nf", f"{len(network.trunk)}nb"]
    if isinstance(network, SRVGGNetCompact):
        convolutions = network.convolutions
        return "SRVGGNetCompact", [
            f"{convolutions[0].out_channels}nf",
            f"{len(convolutions) - 2}nc",
        ]
    if isinstance(network, SwinIR):
        return "SwinIR", []
    return str(getattr(network, "architecture", type(network).__name__)), []


def write_card(
    folder: Path,
    about: About,
    network: nn.Module,
    source: str,
    exported: Sequence[Exported],
    pictures: Sequence[Path],
    columns: Sequence[str],
) -> Path:
    """Write ``model_card.md``, Hugging Face's kind of card.

    Args:
        folder: where the files are.
        about: what a person says.
        network: the model.
        source: the weights it came from.
        exported: its files.
        pictures: before and after, below ``folder``.
        columns: what the pictures show from left to right.
    """
    name, size = architecture_of(network)
    scale = int(network.scale)  # type: ignore[arg-type]
    said = {
        "license": about.license or "unknown",
        "pipeline_tag": "image-to-image",
        "tags": ["super-resolution", name.lower(), *about.tags],
    }
    front = [f"{key}: {json.dumps(value)}" for key, value in said.items()]
    lines = ["---", *front, "---", "", f"# {about.name}", ""]
    lines += [about.description, ""] if about.description else []
    kind = " ".join([name, *size])
    lines += [
        f"A ×{scale} generator ({kind}), from `{source}`.",
        "",
        f"- Author: {about.author or 'not said'}",
        f"- Licence: {about.license or 'not said; without one nobody may use it'}",
        "",
    ]
    if pictures:
        lines += [f"{', '.join(columns)}, from left to right.", ""]
        lines += [f"![{path.stem}]({path.relative_to(folder).as_posix()})" for path in pictures]
        lines.append("")
    lines += [
        "## Files",
        "",
        "| file | bytes | SHA-256 |",
        "| --- | ---: | --- |",
    ]
    for item in exported:
        lines += [
            f"| `{path.name}` | {path.stat().st_size} | `{digest}` |"
            for path, digest in zip(item.files, item.sha256, strict=True)
        ]
    lines += [
        "",
        "## Checked",
        "",
        "Each file was run by its own program on photos and odd sizes, beside the network in "
        "PyTorch and float32.",
        "",
        "| format | precision | run by | largest difference of 255 | PSNR (dB) | masks' IoU |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for item in exported:
        proof = item.proof
        iou = "nothing detected" if math.isnan(proof.iou) else f"{proof.iou:.5f}"
        lines.append(
            f"| {item.form} | {item.precision} | {proof.program} | {255 * proof.difference:.4f} | "
            f"{proof.psnr:.1f} | {iou} |"
        )
    lines += ["", f"Exported by desra {program_version()}.", ""]
    write_text(folder / CARD, "\n".join(lines))
    return folder / CARD


def openmodeldb_entry(
    about: About,
    network: nn.Module,
    exported: Sequence[Exported],
    address: str | None = None,
    day: date | None = None,
) -> dict[str, Any]:
    """A model's entry in OpenModelDB, by the fields of its schema (``src/lib/schema.ts`` there).

    Args:
        about: what a person says.
        network: the model.
        exported: its files; those of formats that the database has are named.
        address: the folder on the web where the files can be fetched.
        day: of the release; None for today.
    """
    name, size = architecture_of(network)
    return {
        "name": about.name,
        "author": (about.author or "").lower().replace(" ", "-"),
        "license": about.license,
        "tags": list(about.tags),
        "description": about.description,
        "date": (day or date.today()).isoformat(),
        "architecture": _IDS.get(name, name.lower()),
        "size": size or None,
        "scale": int(network.scale),  # type: ignore[arg-type]
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [
            {
                "platform": _PLATFORMS[path.suffix],
                "type": path.suffix[1:],
                "size": path.stat().st_size,
                "sha256": digest,
                "urls": [f"{address}/{path.name}"] if address else [],
            }
            for item in exported
            for path, digest in zip(item.files, item.sha256, strict=True)
            if path.suffix in _PLATFORMS
        ],
        "images": [],
    }


def write_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Write an entry as the database keeps them."""
    write_text(path, json.dumps(entry, indent=4, ensure_ascii=False) + "\n")
