"""Freely redistributable photos that Python packages carry, as clean images to train on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from desra.errors import InputError
from desra.images import read_rgb, write_png

Side = Literal["train", "val", "test"]


class Photo(NamedTuple):
    """A photo inside an installed package.

    Attributes:
        package: what it is imported as.
        path: inside the package's folder.
        licence: as the package states it.
        author: whom the package names.
        side: trained on; or what the result is chosen on; or what it is judged on, which neither
            the MSE partner nor the finetuning has seen.
        crops: of it in the artifact set. None where the photo is texture all over: there worms are
            no worse than what was.
    """

    package: str
    path: str
    licence: str
    author: str
    side: Side = "train"
    crops: int = 3

    @property
    def name(self) -> str:
        """File name without suffix."""
        return Path(self.path).stem


PHOTOS = (
    Photo("skimage", "data/astronaut.png", "public domain", "NASA"),
    Photo("skimage", "data/brick.png", "CC0", "CC0Textures", crops=2),
    Photo("skimage", "data/camera.png", "CC0", "Lav Varshney"),
    Photo("skimage", "data/chelsea.png", "CC0", "Stefan van der Walt", side="val"),
    Photo("skimage", "data/coffee.png", "CC0", "Rachel Michetti", side="test"),
    Photo("skimage", "data/grass.png", "CC0", "texturehaven.com", crops=0),
    Photo("skimage", "data/gravel.png", "CC0", "CC0Textures", crops=0),
    Photo("skimage", "data/hubble_deep_field.jpg", "public domain", "NASA", crops=0),
    Photo("skimage", "data/retina.jpg", "CC0", "Häggström", crops=2),
    Photo("skimage", "data/rocket.jpg", "public domain", "SpaceX", side="val"),
    Photo("sklearn", "datasets/images/china.jpg", "CC BY 2.0", "", side="test"),
    Photo("sklearn", "datasets/images/flower.jpg", "CC BY 2.0", "", crops=2),
    Photo(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "public domain",
        "US Navy",
        side="test",
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
    """Write all photos as RGB PNG to ``folder/train``, ``folder/val`` and ``folder/test``.

    Raises:
        InputError: a package is not installed, or an image cannot be read or written.
    """
    for photo in PHOTOS:
        write_png(folder / photo.side / f"{photo.name}.png", read_rgb(photo_path(photo)))
