"""Freely redistributable photos that Python packages carry, as clean images to train on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from desra.errors import InputError
from desra.images import read_rgb, write_png


class Photo(NamedTuple):
    """A photo inside an installed package.

    Attributes:
        package: what it is imported as.
        path: inside the package's folder.
        licence: as the package states it.
        author: whom the package names.
        held_out: never trained on, neither in pretraining nor in finetuning.
    """

    package: str
    path: str
    licence: str
    author: str
    held_out: bool = False

    @property
    def name(self) -> str:
        """File name without suffix."""
        return Path(self.path).stem


PHOTOS = (
    Photo("skimage", "data/astronaut.png", "public domain", "NASA"),
    Photo("skimage", "data/brick.png", "CC0", "CC0Textures"),
    Photo("skimage", "data/camera.png", "CC0", "Lav Varshney"),
    Photo("skimage", "data/chelsea.png", "CC0", "Stefan van der Walt"),
    Photo("skimage", "data/coffee.png", "CC0", "Rachel Michetti", held_out=True),
    Photo("skimage", "data/grass.png", "CC0", "texturehaven.com"),
    Photo("skimage", "data/gravel.png", "CC0", "CC0Textures"),
    Photo("skimage", "data/hubble_deep_field.jpg", "public domain", "NASA"),
    Photo("skimage", "data/retina.jpg", "CC0", "Häggström"),
    Photo("skimage", "data/rocket.jpg", "public domain", "SpaceX"),
    Photo("sklearn", "datasets/images/china.jpg", "CC BY 2.0", "", held_out=True),
    Photo("sklearn", "datasets/images/flower.jpg", "CC BY 2.0", ""),
    Photo(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "public domain",
        "US Navy",
        held_out=True,
    ),
)


def photo_path(photo: Photo) -> Path:
    """Where a photo lies.

    Raises:
        InputError: its package is not installed.
    """
    spec = find_spec(photo.package)
    if spec is None or spec.origin is None:
        raise InputError(f"{photo.package} is not installed; run pip install 'desra[samples]'")
    return Path(spec.origin).parent / photo.path


def collect_photos(folder: Path) -> None:
    """Write all photos as RGB PNG to ``folder/train`` and ``folder/held_out``.

    Raises:
        InputError: a package is not installed, or an image cannot be read or written.
    """
    for photo in PHOTOS:
        side = "held_out" if photo.held_out else "train"
        write_png(folder / side / f"{photo.name}.png", read_rgb(photo_path(photo)))
