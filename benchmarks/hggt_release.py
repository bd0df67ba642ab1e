"""HGGT's released model and settings, unmodified, for `benchmarks/hggt.py`."""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from typing import Any

from torch import Tensor, nn

from benchmarks.finetuning import LAYERS, vgg_features

OPTIONS: dict[str, Any] = {
    "scale": 4,
    "resize_prob": [0.1, 0.85, 0.05],
    "resize_range": [0.8, 1.2],
    "gaussian_noise_prob": 0.5,
    "noise_range": [1, 12],
    "poisson_scale_range": [0.05, 0.8],
    "gray_noise_prob": 0.2,
    "jpeg_range": [75, 95],
    "pre_pad": 0,
    "tile_size": 480,
    "tile_pad": 24,
    "num_gpu": 0,
    "dist": False,
    "is_train": True,
    "path": {},
}
DATA = {
    "blur_kernel_size_min": 1,
    "blur_kernel_size_max": 4,
    "kernel_list": ["iso", "aniso"],
    "kernel_prob": [0.7, 0.3],
    "sinc_prob": 0.01,
    "blur_sigma": [0.1, 1.0],
    "betag_range": [0.1, 2.0],
    "betap_range": [0.1, 1.0],
    "use_hflip": True,
    "use_rot": False,
}


def prepare_imports(arguments: argparse.Namespace) -> None:
    """Make the release's modules importable, and mend what current PyTorch lacks."""
    if "basicsr" in sys.modules:
        return
    import torchvision.models.vgg as vgg
    import torchvision.transforms.functional as functional

    sys.modules["torchvision.transforms.functional_tensor"] = functional
    # The package imports what only its scripts need; its folder stands in for it.
    package = types.ModuleType("basicsr")
    package.__path__ = [str(arguments.release / "basicsr")]
    sys.modules["basicsr"] = package

    class Pretrained(nn.Module):
        """What ``torchvision.models.vgg19(pretrained=True)`` was, without the download."""

        def __init__(self, pretrained: bool = True, **_: Any) -> None:
            super().__init__()
            self.features = vgg_features()

    vgg.vgg19 = Pretrained
    nn.Module.cuda = lambda module, *_: module  # type: ignore[method-assign]
    Tensor.cuda = lambda tensor, *_: tensor  # type: ignore[method-assign]


def released_model(arguments: argparse.Namespace) -> Any:
    """The release's model of `train_RRDBGAN_PosNegGT_Blind_Pos+Neg_x4.yml`, on the processor."""
    prepare_imports(arguments)
    models = importlib.import_module("basicsr.models.ours_posneggt_model")
    original = models.filter2D
    vars(models)["filter2D"] = lambda image, kernel: original(image.contiguous(), kernel)
    return models.Ours_PosNegGT_Model(_released_options(arguments))


def _released_options(arguments: argparse.Namespace) -> dict[str, Any]:
    adam = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
    network = {"type": "RRDBPSNet", "scale": 4, "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64}
    gan = {"gan_type": "vanilla", "real_label_val": 1.0, "fake_label_val": 0.0}
    vgg = {"vgg_type": "vgg19", "use_input_norm": True, "range_norm": False, "criterion": "l1"}
    vgg |= {"layer_weights": LAYERS, "perceptual_weight": 1.0, "style_weight": 0}
    return {
        **OPTIONS,
        "gt_size": arguments.crop,
        "queue_size": arguments.batch,
        "network_g": {**network, "num_block": arguments.blocks, "num_grow_ch": 32},
        "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 64},
        "train": {
            "ema_decay": 0.999,
            "net_d_iters": 1,
            "net_d_init_iters": 0,
            "optim_g": dict(adam),
            "optim_d": dict(adam),
            "scheduler": {"type": "MultiStepLR", "milestones": [200000], "gamma": 0.5},
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
            "neg_opt": {"type": "L1Loss", "loss_weight": 300.0, "reduction": "mean"},
            "perceptual_opt": {"type": "PerceptualLoss", **vgg},
            "gan_opt": {"type": "GANLoss", "loss_weight": 0.1, **gan},
        },
    }
