"""Configs, checkpoints and networks of mmsegmentation.

A checkpoint is read by `desra.checkpoints`, which runs nothing. A config is a Python program, as
are all of mmsegmentation's: use those that come with it, or that you have read.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from desra.checkpoints import read_checkpoint
from desra.errors import InputError
from desra.segmenters.mmcv_ops import install_stand_in
from desra.semantics import ADE20K_CLASSES, NO_CLASS

DEFAULT_CONFIG = "segformer_mit-b5_8xb2-160k_ade20k-640x640"
"""What DeSRA labels with: SegFormer, mit-b5, trained on 640×640 crops of ADE20K."""

# The checkpoint that DeSRA's release names. The catalogue of mmsegmentation 1.x still has an
# earlier training of the same network (49.6 instead of 50.2 mIoU).
_OFFICIAL = {
    DEFAULT_CONFIG: "https://download.openmmlab.com/mmsegmentation/v0.5/segformer/"
    "segformer_mit-b5_640x640_160k_ade20k/"
    "segformer_mit-b5_640x640_160k_ade20k_20220617_203542-940a6bd8.pth"
}

_INSTALL = (
    "pip install mmsegmentation mmcv-lite==2.1.0, or choose segmenter=labels or segmenter=none"
)


class _Ignored:
    """Takes the place of an object in a checkpoint's training log: any arguments, no effect."""

    def __init__(self, *_args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# What mmengine leaves beside the weights. None of it is needed, so none of it is made.
_LOG: list[Any] = [
    (_Ignored, "builtins.getattr"),
    (_Ignored, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_Ignored, "numpy.ndarray"),
    (_Ignored, "numpy.core.multiarray._reconstruct"),  # as NumPy 1 calls it
    (_Ignored, "numpy._core.multiarray._reconstruct"),
]


class Weights(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        path: the file.
        state: parameters and buffers by name.
        classes: the class names that the network was trained with; empty where it does not say.
    """

    path: Path
    state: dict[str, Tensor]
    classes: tuple[str, ...]


def find_config(config: str | Path, node: str = "segmenter") -> Path:
    """The file of a config given by its path, or by the name of one that comes with mmsegmentation.

    Args:
        config: path or name.
        node: the configuration's node, which a message names.

    Raises:
        InputError: there is none, or mmsegmentation is not installed.
    """
    path = Path(config).expanduser()
    if path.is_file():
        return path
    spec = find_spec("mmseg")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"mmsegmentation is not installed; {_INSTALL}")
    folder = Path(spec.submodule_search_locations[0], ".mim", "configs")
    packaged = {file.stem: file for file in folder.glob("*/*.py")}
    name = path.name.removesuffix(".py")
    if name not in packaged:
        near = get_close_matches(name, packaged, n=3)
        raise InputError(
            f"{node}.config={config}: no such file, and no config of mmsegmentation's"
            + (f"; did you mean {' or '.join(near)}?" if near else "")
        )
    return packaged[name]


def official_checkpoint(config: Path) -> str | None:
    """Address of the weights that mmsegmentation gives for a config of its own, or None."""
    if config.stem in _OFFICIAL:
        return _OFFICIAL[config.stem]
    catalogue = config.with_name("metafile.yaml")
    if not catalogue.is_file():
        return None
    from mmengine.fileio import load

    models = {model["Name"]: model for model in load(str(catalogue))["Models"]}
    return models.get(config.stem, {}).get("Weights")


def checksum_in_name(url: str) -> str | None:
    """The SHA-256 prefix at the end of the names of OpenMMLab's files, ``…-940a6bd8.pth``."""
    found = re.search(r"-([0-9a-f]{8})\.pth$", url)
    return found[1] if found else None


def read_weights(path: Path) -> Weights:
    """Read a checkpoint of mmengine or mmcv, or a bare state dict, without running anything in it.

    Raises:
        InputError: as `desra.checkpoints.read_checkpoint`.
    """
    with torch.serialization.safe_globals(_LOG):
        checkpoint = read_checkpoint(path)
    state = checkpoint.states()[0].tensors
    return Weights(path, state, _class_names(checkpoint.data.get("meta")))


def _class_names(meta: object) -> tuple[str, ...]:
    """Class names in a checkpoint's metadata, of mmsegmentation 1.x, its candidates, and 0.x."""
    if not isinstance(meta, Mapping):
        return ()
    for place in (meta.get("dataset_meta"), meta):
        if isinstance(place, Mapping):
            names = place.get("classes") or place.get("CLASSES")
            if names:
                return tuple(map(str, names))
    return ()


def import_mmseg() -> None:
    """Import what networks and test pipelines of mmsegmentation need.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        install_stand_in()
        import mmseg.datasets.transforms
        import mmseg.models  # noqa: F401
    except (ImportError, AssertionError) as error:  # it asserts the version of mmcv
        raise InputError(f"mmsegmentation cannot be used ({error}); {_INSTALL}") from error


class Recipe:
    """What of a config decides labels: the network, the pipeline at test time, the classes.

    Args:
        path: the config.

    Raises:
        InputError: it cannot be read, or describes no segmentation network.
    """

    def __init__(self, path: Path) -> None:
        from mmengine.config import Config, ConfigDict

        self.path = path
        try:
            config = Config.fromfile(str(path))
        except Exception as error:  # a config is a program and can fail in any way
            raise InputError(f"{path}: not a config of mmsegmentation ({error})") from error
        pipeline = config.get("test_pipeline") or _dataset(config).get("pipeline")
        if "model" not in config or not pipeline:
            raise InputError(f"{path}: a config of mmsegmentation has a model and a test_pipeline")
        self.scope: str = config.get("default_scope") or "mmseg"
        # mmengine's own dictionary: networks read their test_cfg by attribute.
        self.model = ConfigDict(_without_pretraining(config.model) | {"train_cfg": None})
        self.pipeline = [dict(step) for step in pipeline if _type_name(step) != "LoadAnnotations"]
        self.pipeline[0]["type"] = "LoadImageFromNDArray"
        self._dataset = _dataset(config)

    @property
    def digest(self) -> str:
        """Hexadecimal digest of everything in the config that decides the labels."""
        names = [self._dataset.get("type"), self._dataset.get("metainfo")]
        content = json.dumps([self.model, self.pipeline, names], sort_keys=True, default=repr)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def build(self, weights: Weights) -> tuple[Any, Any]:
        """The network with its weights, on the CPU, and the pipeline that makes its inputs.

        Args:
            weights: all of the network's, and no others.

        Raises:
            InputError: the config cannot be built, or the weights are of another network.
        """
        import_mmseg()
        from mmengine.dataset import Compose
        from mmengine.registry import DefaultScope
        from mmseg.registry import MODELS

        with DefaultScope.overwrite_default_scope(self.scope), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about losses, which are built as well
            try:
                network, pipeline = MODELS.build(self.model), Compose(self.pipeline)
            except Exception as error:  # a part not installed, or a config that does not fit it
                raise InputError(f"{self.path}: cannot be built ({error})") from error
        _load(network, weights, self.path.stem)
        return network.eval().requires_grad_(False), pipeline

    def ade20k_indices(self, weights: Weights, num_classes: int) -> list[int]:
        """For each class of the network the ADE20K class of that name, or `NO_CLASS`.

        Raises:
            InputError: the classes are not known, or none of them is one of ADE20K's.
        """
        names = weights.classes or self._dataset_classes()
        if len(names) != num_classes:
            raise InputError(
                f"{self.path}: {num_classes} classes in the network, {len(names)} names for them; "
                "set test_dataloader.dataset.metainfo.classes in the config"
            )
        known = {name.strip().lower(): index for index, name in enumerate(ADE20K_CLASSES)}
        indices = [known.get(name.strip().lower(), NO_CLASS) for name in names]
        if all(index == NO_CLASS for index in indices):
            raise InputError(
                f"{self.path}: none of its classes is one of ADE20K's, by which the distance is "
                "adjusted; choose a network for ADE20K, or segmenter=none"
            )
        return indices

    def _dataset_classes(self) -> tuple[str, ...]:
        own = self._dataset.get("metainfo", {}).get("classes")
        if own:
            return tuple(own)
        import_mmseg()
        from mmseg.registry import DATASETS

        kind = self._dataset.get("type")
        dataset = DATASETS.get(kind) if isinstance(kind, str) else kind
        return tuple(getattr(dataset, "METAINFO", {}).get("classes", ()))


def _dataset(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return config.get("test_dataloader", {}).get("dataset", {})


def _type_name(step: Mapping[str, Any]) -> str:
    kind = step.get("type")
    return kind if isinstance(kind, str) else getattr(kind, "__name__", "")


def _without_pretraining(node: Any) -> Any:
    """A config without the weights to begin a training with, which would be downloaded."""
    if isinstance(node, Mapping):
        return {
            key: None if key in ("init_cfg", "pretrained") else _without_pretraining(value)
            for key, value in node.items()
        }
    if isinstance(node, (list, tuple)):
        return type(node)(map(_without_pretraining, node))
    return node


def _load(network: nn.Module, weights: Weights, config: str) -> None:
    other = f"{weights.path}: weights of another network than {config}"
    try:
        missing, unexpected = network.load_state_dict(weights.state, strict=False)
    except RuntimeError as error:  # shapes
        raise InputError(f"{other} ({str(error).splitlines()[-1]})") from error
    # Counters that batch normalisation has only had since torch 0.4.1, and only trains with.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    for keys, problem in ((missing, "lacks"), (unexpected, "has")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"{other}: it {problem} {keys[0]}{more}; give a config and a "
                "checkpoint that belong together"
            )
