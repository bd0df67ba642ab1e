"""SPAN, RealPLKSR, DAT and OmniSR at ×1, ×2 and ×4: from a trainer's file to the release's keys."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel import ModelLoader
from spandrel.architectures.DAT import DAT
from spandrel.architectures.OmniSR import OmniSR
from spandrel.architectures.PLKSR import RealPLKSR
from spandrel.architectures.SPAN import SPAN

from callbacks.artifact_detection import ArtifactDetectionCallback
from callbacks.weight_export import WeightExport
from datamodules.image_folders import ImageFolders
from datamodules.roles import Role
from desra.detectors import ArtifactDetector
from desra.errors import InputError
from desra.images import read_rgb, write_png
from desra.masks import read_mask_image
from desra.resampling import resize_lanczos
from desra.segmenters import NoSegmenter
from models.exporting import RUNTIMES, Tolerance, prove, write
from models.finetuner import GANFinetuner
from models.generators import load_generator, write_generator
from models.losses import PixelLoss
from models.upscaler import Upscaler
from tasks.detect import ArtifactDetection
from tests.callbacks.artifacts import make_trainer
from tests.conftest import smooth_photo
from tests.models.finetuning import make_data
from tests.models.networks import noise
from tests.tasks.image_tasks import run_task

SIZE = 24, 32
DETECTOR = ArtifactDetector(min_area=50)
NETWORKS = {
    "SPAN": lambda scale: SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=scale),
    "RealPLKSR": lambda scale: RealPLKSR(dim=16, n_blocks=2, upscaling_factor=scale),
    "DySample": lambda scale: RealPLKSR(
        dim=16, n_blocks=1, upscaling_factor=scale, layer_norm=True, dysample=True
    ),
    "DAT": lambda scale: DAT(
        embed_dim=32, depth=[3], num_heads=[2], split_size=[4, 8], upscale=scale, img_size=16
    ),
    "DAT-light": lambda scale: DAT(
        embed_dim=32, depth=[1], num_heads=[2], upscale=scale, upsampler="pixelshuffledirect"
    ),
    "OmniSR": lambda scale: OmniSR(num_feat=16, res_num=1, up_scale=scale, window_size=8),
}
CLASSES = {"DySample": "RealPLKSR", "DAT-light": "DAT"}


def made(name, scale, seed=0):
    torch.manual_seed(seed)
    return NETWORKS[name](scale).eval()


def output(network, lr):
    with torch.inference_mode():
        return network(lr)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_size_goes_in(name, scale, tmp_path):
    network = made(name, scale)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "net.pth")
    generator = load_generator(tmp_path / "net.pth")
    assert (generator.scale, generator.architecture) == (scale, CLASSES.get(name, name))
    lr = noise(3, 24, 33)
    torch.testing.assert_close(output(generator, lr), output(network, lr))
    for height, width in ((1, 1), (5, 17), (31, 18)):
        assert output(generator, noise(3, height, width)).shape[2:] == (
            height * scale,
            width * scale,
        )


def prefixed(state, prefix):
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


TRAINERS = {
    "BasicSR, traiNNer-redux": lambda ema, net: {"params": net, "params_ema": ema},
    "averaged alone": lambda ema, _: {"params_ema": ema},
    "neosr": lambda ema, _: {"params": ema},
    "hyphen": lambda ema, net: {"params": net, "params-ema": ema},
    "containers net_g": lambda ema, net: {"net_g": net, "net_g_ema": ema, "iter": 1000},
    "compiled": lambda ema, net: {
        "params": prefixed(net, "_orig_mod."),
        "params_ema": prefixed(ema, "_orig_mod."),
    },
    "several GPUs": lambda ema, _: {"params_ema": prefixed(ema, "module.")},
    "compiled on several GPUs": lambda ema, _: prefixed(ema, "module._orig_mod."),
    "Lightning": lambda ema, net: {
        "state_dict": {**prefixed(net, "net_g."), **prefixed(ema, "net_g_ema.")}
    },
    "bare": lambda ema, _: ema,
}
WRITTEN = {
    **dict.fromkeys(("neosr", "hyphen", "containers net_g", "Lightning"), "params"),
    **dict.fromkeys(("compiled on several GPUs", "bare"), ""),
}
"""Where weights are put, by where they were; ``params_ema`` otherwise."""


@pytest.mark.parametrize("name", ["SPAN", "RealPLKSR", "DAT", "OmniSR"])
def test_files_as_trainers_write_them(name, tmp_path):
    ema, net = (made(name, 2, seed).state_dict() for seed in (1, 2))
    lr = noise(3, 16, 16)
    expected = output(load_state(name, ema), lr)
    for trainer, layout in TRAINERS.items():
        torch.save(layout(ema, net), tmp_path / "net.pth")
        generator = load_generator(tmp_path / "net.pth")
        torch.testing.assert_close(output(generator, lr), expected, msg=trainer)
        write_generator(tmp_path / "again.pth", generator)
        again = torch.load(tmp_path / "again.pth", weights_only=True)
        container = WRITTEN.get(trainer, "params_ema")
        assert (again[container] if container else again).keys() == ema.keys(), trainer
    save_file({key: tensor.clone() for key, tensor in ema.items()}, tmp_path / "net.safetensors")
    torch.testing.assert_close(output(load_generator(tmp_path / "net.safetensors"), lr), expected)


def load_state(name, state):
    network = made(name, 2)
    network.load_state_dict(state)
    return network


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("name", ["SPAN", "RealPLKSR", "DAT", "OmniSR"])
def test_detected_finetuned_exported_and_written_back(name, scale, tmp_path):
    weights = tmp_path / f"{scale}x_tuned.pth"
    torch.save({"params_ema": made(name, scale).state_dict()}, weights)
    for number in range(3):
        lr = smooth_photo(number, *SIZE)
        write_png(tmp_path / f"in/LR/{number}.png", lr)
        smooth = resize_lanczos(lr, *(side * scale for side in SIZE))
        write_png(tmp_path / f"in/MSE-SR/{number}.png", smooth)

    task = ArtifactDetection(
        DETECTOR, NoSegmenter(), tmp_path / "set", gan=Upscaler(load_generator(weights)), page=False
    )
    roles = {"lr": Role(f"{tmp_path}/in/LR"), "mse_sr": Role(f"{tmp_path}/in/MSE-SR")}
    data = ImageFolders(roles, num_workers=0)
    assert run_task(task, data) == []
    upscaled = Upscaler(load_generator(weights)).upscale_image(read_rgb(tmp_path / "in/LR/2.png"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "set/GAN-SR/2.png"), upscaled)
    mask = read_mask_image(tmp_path / "set/DeSRA-Mask/2.png")
    assert mask.shape == tuple(side * scale for side in SIZE)
    smooth = read_rgb(tmp_path / "in/MSE-SR/2.png")
    assert np.array_equal(mask, DETECTOR(smooth.copy(), upscaled.copy()).mask[0, 0])

    pairs = make_data(tmp_path / "set", gt_crop=16 * scale, val_share=0.0, check_alignment=False)
    pairs.setup()
    batch = next(iter(pairs.train_dataloader()))
    assert batch["gan_sr"].shape[2:] == (16 * scale, 16 * scale)
    assert batch["lr"].shape[2:] == (16, 16)
    if scale == 1:  # Lanczos changes nothing there: a crop beside its place would show
        assert torch.equal(batch["lr"], batch["mse_sr"])
    module = GANFinetuner(
        generator_weights=str(weights), pixel=PixelLoss(1.0), learning_rate=2e-3, ema_decay=0.5
    )
    callbacks = [
        ArtifactDetectionCallback(DETECTOR, NoSegmenter(), every_n_steps=4),
        WeightExport(tmp_path / "weights"),
    ]
    make_trainer(6, callbacks).fit(module, pairs)
    tuned = tmp_path / "weights" / f"{scale}x_tuned_desra.pth"
    state = torch.load(tuned, weights_only=True)
    assert {"params", "params_ema"} <= state.keys()
    assert state["metadata"]["scale"] == str(scale)
    assert state["params_ema"].keys() == torch.load(weights)["params_ema"].keys()
    lr = noise(3, 19, 24)
    expected = output(module.ema.module, lr)
    assert (output(load_generator(weights), lr) - expected).abs().mean() > 1e-3
    for file in (tuned, tuned.with_suffix(".safetensors")):
        torch.testing.assert_close(output(load_generator(file), lr), expected)
        elsewhere = ModelLoader().load_from_file(file)
        assert elsewhere.scale == scale
        torch.testing.assert_close(elsewhere(lr), expected.clamp(0, 1), rtol=0, atol=1e-5)

    network = load_generator(tuned)
    write(network, tmp_path / "model", "onnx")
    photo = np.ascontiguousarray(smooth_photo(7, 40, 44).transpose(2, 0, 1), np.float32) / 255
    prove(
        *(network, RUNTIMES["onnx"](tmp_path / "model", scale), [photo.astype(np.float32)]),
        *(DETECTOR, Tolerance(1e-4, 0.999)),
    )


def test_folded_convolutions_of_span_are_written_as_trained(tmp_path):
    torch.save({"params": made("SPAN", 2).state_dict()}, tmp_path / "span.pth")
    generator = load_generator(tmp_path / "span.pth").train()
    generator(noise(3, 8, 8)).mean().backward()
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    write_generator(tmp_path / "tuned.pth", generator)
    state = torch.load(tmp_path / "tuned.pth", weights_only=True)["params"]
    folded = generator.eval().network.conv_1.eval_conv
    output(generator, noise(3, 8, 8))
    assert torch.equal(state["conv_1.eval_conv.weight"], folded.weight)


def test_what_normalises_over_the_batch_needs_one(tmp_path):
    torch.save(made("DAT", 2).state_dict(), tmp_path / "dat.pth")
    generator = load_generator(tmp_path / "dat.pth").train()
    with pytest.raises(InputError, match=r"DAT normalises over the batch: give data\.batch_size=2"):
        generator(noise(3, 16, 16))
    generator(noise(3, 16, 16, batch=2))
