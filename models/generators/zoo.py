"""Released weights by name: where they are, how to check them, and under which licence they are.

Addresses and file names are those of the releases' own documents: Real-ESRGAN ``docs/model_zoo.md``
and ``inference_realesrgan.py``, SwinIR ``main_test_swinir.py`` and its release v0.0, KAIR release
v1.0, LDL ``experiments/README.md``, DeSRA ``README.md``. The releases publish no checksums; the
ones here were each found in at least two independent projects that pin them. Where none is pinned,
the checksum of the first download is kept and compared from then on.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from desra.download import cache_dir, fetch
from desra.errors import InputError

Role = Literal["gan", "mse", "discriminator"]

_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_SWINIR = "https://github.com/JingyunLiang/SwinIR/releases/download/v0.0"
_KAIR = "https://github.com/cszn/KAIR/releases/download/v1.0"
_LDL_DRIVE = "https://drive.google.com/drive/folders/1RGTTs9f9qIBmS-7aGzADks78H65ls-r4"
_DESRA_DRIVE = "https://drive.google.com/drive/folders/10vzKAJjHm5GEb0_LESnHYmuCnBwdoFpm"
_DESRA_FINETUNED = "https://drive.google.com/drive/folders/14cLRrE4GjbgxIlVz6RoeRr0-2-NiTHrf"


@dataclass(frozen=True)
class Weights:
    """A file of released weights.

    Attributes:
        filename: its name in the release and in the cache.
        role: trained with an adversarial loss, with a pixel loss alone, or a discriminator.
        licence: of the release, as an SPDX expression.
        url: where it can be downloaded; None where a person has to.
        sha256: its checksum, if known.
        page: where a person finds it.
    """

    filename: str
    role: Role
    licence: str
    url: str | None = None
    sha256: str | None = None
    page: str | None = None


def _real_esrgan(release: str, filename: str, role: Role, sha256: str | None = None) -> Weights:
    url = f"{_REAL_ESRGAN}/{release}/{filename}"
    return Weights(filename, role, "BSD-3-Clause", url, sha256)


def _swinir(filename: str, role: Role, sha256: str) -> Weights:
    return Weights(filename, role, "Apache-2.0", f"{_SWINIR}/{filename}", sha256)


def _on_drive(filename: str, role: Role, page: str) -> Weights:
    return Weights(filename, role, "Apache-2.0", page=page)


ZOO: MappingProxyType[str, Weights] = MappingProxyType(
    {
        "realesrgan-x4plus": _real_esrgan(
            "v0.1.0",
            "RealESRGAN_x4plus.pth",
            "gan",
            "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        ),
        "realesrnet-x4plus": _real_esrgan(
            "v0.1.1",
            "RealESRNet_x4plus.pth",
            "mse",
            "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
        ),
        "realesrgan-x2plus": _real_esrgan(
            "v0.2.1",
            "RealESRGAN_x2plus.pth",
            "gan",
            "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        ),
        "realesrgan-x4plus-anime-6b": _real_esrgan(
            "v0.2.2.4",
            "RealESRGAN_x4plus_anime_6B.pth",
            "gan",
            "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        ),
        "realesr-general-x4v3": _real_esrgan(
            "v0.2.5.0",
            "realesr-general-x4v3.pth",
            "gan",
            "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        ),
        "realesr-general-wdn-x4v3": _real_esrgan(
            "v0.2.5.0",
            "realesr-general-wdn-x4v3.pth",
            "gan",
            "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        ),
        "realesr-animevideov3": _real_esrgan(
            "v0.2.5.0",
            "realesr-animevideov3.pth",
            "gan",
            "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        ),
        "esrgan": _real_esrgan(
            "v0.1.1",
            "ESRGAN_SRx4_DF2KOST_official-ff704c30.pth",
            "gan",
            "ff704c30ff560305e48ed1f4db895e525ab6bc81a46fafe80c0094a271c806d9",
        ),
        "bsrgan": Weights(
            "BSRGAN.pth",
            "gan",
            "MIT",
            f"{_KAIR}/BSRGAN.pth",
            "5d505a0766160921e0388d76e1ddf08cb114303990f9080432bf2b1c988b1c54",
        ),
        "bsrnet": Weights(
            "BSRNet.pth",
            "mse",
            "MIT",
            f"{_KAIR}/BSRNet.pth",
            "fa633d80ff4db5a546740ae8e3baebe925fc84d3c03e3e9002493acc5e88c3ec",
        ),
        "swinir-m-gan": _swinir(
            "003_realSR_BSRGAN_DFO_s64w8_SwinIR-M_x4_GAN.pth",
            "gan",
            "b9afb61e65e04eb7f8aba5095d070bbe9af28df76acd0c9405aeb33b814bcfc6",
        ),
        "swinir-m-psnr": _swinir(
            "003_realSR_BSRGAN_DFO_s64w8_SwinIR-M_x4_PSNR.pth",
            "mse",
            "1fd8fed99684bd271db55563e4906d36459cf535446820053f7a1081d4781dc5",
        ),
        "swinir-m-x2-gan": _swinir(
            "003_realSR_BSRGAN_DFO_s64w8_SwinIR-M_x2_GAN.pth",
            "gan",
            "f397408977a3e07eb06afb7238d453a12ef35ebab7328a54241f307860dbe342",
        ),
        "swinir-l-gan": _swinir(
            "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
            "gan",
            "99adfa91350a84c99e946c1eb3d8fce34bc28f57d807b09dc8fe40a316328c0a",
        ),
        "swinir-l-psnr": _swinir(
            "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_PSNR.pth",
            "mse",
            "450be6eac63a59959b55a83df6743444de9f018547f81d16f699b3680d366ad7",
        ),
        "realesrgan-x4plus-netd": _real_esrgan(
            "v0.2.2.3", "RealESRGAN_x4plus_netD.pth", "discriminator"
        ),
        "realesrgan-x2plus-netd": _real_esrgan(
            "v0.2.2.3", "RealESRGAN_x2plus_netD.pth", "discriminator"
        ),
        "realesrgan-x4plus-anime-6b-netd": _real_esrgan(
            "v0.2.2.4", "RealESRGAN_x4plus_anime_6B_netD.pth", "discriminator"
        ),
        "ldl": _on_drive("net_g_RealESRGAN+LDL.pth", "gan", _LDL_DRIVE),
        "swinir-ldl": _on_drive("net_g_RealSwinIR+LDL.pth", "gan", _LDL_DRIVE),
        "ldl-mse": _on_drive("ldl-mse.pth", "mse", _DESRA_DRIVE),
        "realesrgan-desra": _on_drive("realesrgan-desra.pth", "gan", _DESRA_FINETUNED),
        "ldl-desra": _on_drive("ldl-desra.pth", "gan", _DESRA_FINETUNED),
        "swinir-desra": _on_drive("swinir-desra.pth", "gan", _DESRA_FINETUNED),
    }
)
"""Name to released weights."""


WEIGHT_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".onnx", ".param")


def weights_folder() -> Path:
    """Where released weights are kept, and looked for if they were placed by hand."""
    return cache_dir() / "weights"


def resolve_weights(weights: str | Path) -> Path:
    """The file that a path or a name of `ZOO` means, downloaded if need be.

    Args:
        weights: a path, which wins where it exists, or a name; case and ``_`` for ``-`` don't
            matter.

    Raises:
        InputError: neither a file nor a name, a file that a person has to fetch, or a download
            that failed.

    Example:
        >>> resolve_weights("no-such-weights")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        desra.errors.InputError: no-such-weights: no such file, nor the name of released weights...
    """
    path = Path(os.path.expanduser(weights))
    if path.is_file():
        return path
    if path.is_dir():
        there = sorted(child.name for child in path.iterdir() if child.suffix in WEIGHT_SUFFIXES)
        files = f"; there are {', '.join(there[:4])}" if there else ""
        raise InputError(f"{weights}: a folder; give a file of weights{files}")
    if path.exists():
        raise InputError(f"{weights}: not a regular file; give a file of weights")
    name = str(weights).lower().replace("_", "-").removesuffix(".pth")
    entry = ZOO.get(name)
    if entry is None and (len(path.parts) > 1 or path.suffix in WEIGHT_SUFFIXES):
        raise InputError(f"{weights}: no such file; give a file of weights, or a name of some")
    if entry is None:
        raise InputError(
            f"{weights}: no such file, nor the name of released weights; {_like(name)}"
        )
    place = weights_folder() / entry.filename
    if entry.url is not None:
        return fetch(entry.url, place, sha256=entry.sha256)
    if place.is_file():
        return place
    raise InputError(
        f"{name}: is on a drive that scripts cannot download from; fetch it from {entry.page} and "
        f"save it as {place}, or give its path"
    )


def _like(name: str) -> str:
    close = difflib.get_close_matches(name, ZOO, n=3, cutoff=0.4)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"known are {', '.join(ZOO)}"
