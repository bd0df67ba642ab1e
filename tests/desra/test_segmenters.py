"""Segmenters, with mmsegmentation's own inference as the reference for the networks."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from desra.errors import InputError
from desra.segmenters import LabelFolder, MMSegSegmenter, NoSegmenter, openmmlab
from desra.segmenters.argmax import resized_argmax
from desra.segmenters.mmcv_ops import install_stand_in
from desra.segmenters.openmmlab import find_config, import_mmseg, official_checkpoint
from desra.semantics import ADE20K_CLASSES

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:mmseg.*")

ROOT = Path(__file__).parents[2]
B0 = "segformer_mit-b0_8xb2-160k_ade20k-512x512"
B5 = "segformer_mit-b5_8xb2-160k_ade20k-640x640"
CITYSCAPES = "segformer_mit-b0_8xb1-160k_cityscapes-1024x1024"


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small lose by more threads, above all where other processes run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """``(H, W, 3)`` uint8 with the spectrum of photos (amplitude falls as 1 / frequency)."""
    spectrum = np.fft.fft2(np.random.default_rng(seed).normal(size=(height, width, 3)), axes=(0, 1))
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    frequency = np.hypot(y, x)[..., None]
    image = np.fft.ifft2(spectrum / np.maximum(frequency, 1 / max(height, width)), axes=(0, 1)).real
    return np.uint8(np.clip(127 + 60 * image / image.std(), 0, 255))


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def one_line(error: pytest.ExceptionInfo) -> bool:
    return "\n" not in str(error.value)


# mmsegmentation -----------------------------------------------------------------------------------


def small_config(name: str, folder: Path, **test_cfg) -> Path:
    """mmsegmentation's own config, but for the size that it resizes images to."""
    from mmengine.config import Config

    config = Config.fromfile(str(find_config(name)))
    for step in config.test_pipeline:
        if step["type"] == "Resize":
            step["scale"] = (256, 64)
    config.model.test_cfg.update(test_cfg)
    path = folder / f"{name}.py"
    config.dump(str(path))
    return path


def random_network(config: Path, seed: int = 0) -> torch.nn.Module:
    """The network of a config as mmsegmentation builds it, with many classes in its answers."""
    import_mmseg()
    from mmseg.apis import init_model

    torch.manual_seed(seed)
    network = init_model(str(config), device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                torch.nn.init.kaiming_normal_(parameter)
        network.decode_head.conv_seg.weight.mul_(5)
    return network


def save(network: torch.nn.Module, path: Path, **extra) -> Path:
    torch.save({"state_dict": network.state_dict(), "meta": {}, **extra}, path)
    return path


def reference(network: torch.nn.Module, rgb: np.ndarray) -> torch.Tensor:
    """``(1, H, W)`` classes that mmsegmentation finds in an image."""
    from mmseg.apis import inference_model

    return inference_model(network, np.ascontiguousarray(rgb[..., ::-1])).pred_sem_seg.data


@pytest.fixture(scope="module")
def small_b0(tmp_path_factory):
    """Config, checkpoint and network: SegFormer mit-b0 on images of 64 pixels."""
    folder = tmp_path_factory.mktemp("b0")
    config = small_config(B0, folder)
    network = random_network(config)
    return config, save(network, folder / "b0.pth"), network


@pytest.fixture
def like_a_gpu(monkeypatch):
    """Let the CPU compute with batches and half precision."""
    monkeypatch.setattr(MMSegSegmenter, "_batches", staticmethod(lambda device: True))


def test_b0_as_packaged_equals_mmsegmentation(tmp_path):
    network = random_network(find_config(B0))
    segmenter = MMSegSegmenter(B0, save(network, tmp_path / "b0.pth"))
    rgb = photo(83, 90)
    labels = segmenter(batch(rgb), ["a"])
    assert labels.dtype == torch.uint8
    assert len(labels.unique()) > 3
    assert torch.equal(labels[0], reference(network, rgb).to(torch.uint8))


def test_b5_equals_mmsegmentation(tmp_path):
    config = small_config(B5, tmp_path)
    network = random_network(config)
    segmenter = MMSegSegmenter(config, save(network, tmp_path / "b5.pth"))
    rgb = photo(70, 100)
    labels = segmenter(batch(rgb), ["a"])
    assert sum(parameter.numel() for parameter in network.parameters()) > 80e6
    assert len(labels.unique()) > 3
    assert torch.equal(labels[0], reference(network, rgb).to(torch.uint8))


def test_batches_equal_mmsegmentation_image_by_image(small_b0):
    config, checkpoint, network = small_b0
    images = [photo(90, 64, seed) for seed in range(3)]
    segmenter = MMSegSegmenter(config, checkpoint)
    labels = segmenter(batch(*images), ["a", "b", "c"])
    assert labels.shape == (3, 1, 90, 64)
    assert torch.equal(labels, torch.stack([reference(network, rgb) for rgb in images]).byte())
    as_float = segmenter(batch(*images).float() / 255, ["a", "b", "c"])
    assert torch.equal(as_float, labels)


def test_labels_do_not_depend_on_the_company(small_b0, like_a_gpu):
    config, checkpoint, network = small_b0
    images = [photo(90, 64, seed) for seed in range(5)]
    segmenter = MMSegSegmenter(config, checkpoint, precision="fp32", batch_size=3)
    together = segmenter(batch(*images), list("abcde"))
    for rgb, labels in zip(images, together, strict=True):
        assert torch.equal(segmenter(batch(rgb), ["a"])[0], labels)
        assert (reference(network, rgb) == labels).float().mean() > 0.999


@pytest.mark.parametrize("precision", ["bf16", "fp16", "auto"])
def test_half_precision(small_b0, like_a_gpu, precision):
    config, checkpoint, network = small_b0
    rgb = photo(90, 64)
    labels = MMSegSegmenter(config, checkpoint, precision=precision)(batch(rgb), ["a"])
    agreement = (labels[0] == reference(network, rgb)).float().mean()
    assert 0.8 < agreement < 1  # below 1: it was in half precision


def test_what_overflows_is_done_in_float32(small_b0, tmp_path, like_a_gpu, caplog):
    config, _, network = small_b0
    state = {name: value.clone() for name, value in network.state_dict().items()}
    for name in ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias"):
        state[name] *= 1e6
    torch.save(state, tmp_path / "large.pth")
    rgb = photo(90, 64)
    labels = MMSegSegmenter(config, tmp_path / "large.pth", precision="fp16")(batch(rgb), ["a"])
    assert "float32" in caplog.text
    assert (labels[0] == reference(network, rgb)).float().mean() > 0.999


def test_overflow_of_one_image_leaves_the_others_alone(small_b0, like_a_gpu, monkeypatch):
    config, checkpoint, network = small_b0
    images = [photo(90, 64, seed) for seed in range(3)]
    expected = MMSegSegmenter(config, checkpoint, "bf16")(batch(*images), list("abc"))
    segmenter, compute = MMSegSegmenter(config, checkpoint, "bf16"), MMSegSegmenter._logits

    def overflowing(self, inputs, metas, dtype):
        logits = compute(self, inputs, metas, dtype)
        if dtype is not None:
            logits[1, 5, 7, 9] = torch.inf
        return logits

    monkeypatch.setattr(MMSegSegmenter, "_logits", overflowing)
    labels = segmenter(batch(*images), list("abc"))
    assert torch.equal(labels[[0, 2]], expected[[0, 2]])
    assert not torch.equal(labels[1], expected[1])
    assert (labels[1] == reference(network, images[1])).float().mean() > 0.999


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="compares a GPU with the CPU")
@pytest.mark.parametrize(("precision", "agreement"), [("fp32", 0.99), ("auto", 0.9)])
def test_gpu(small_b0, precision, agreement):
    config, checkpoint, _ = small_b0
    images = batch(*[photo(90, 64, seed) for seed in range(5)])
    segmenter = MMSegSegmenter(config, checkpoint, precision)
    expected = segmenter(images, list("abcde"))
    labels = segmenter(images.cuda(), list("abcde"))
    assert labels.device.type == "cuda"
    assert (labels.cpu() == expected).float().mean() > agreement


@pytest.mark.parametrize("batched", [False, True])
def test_sliding_windows_and_other_classes(tmp_path, monkeypatch, batched):
    from mmseg.datasets import CityscapesDataset

    config = small_config(CITYSCAPES, tmp_path, crop_size=(64, 64), stride=(40, 40))
    network = random_network(config)
    assert network.test_cfg.mode == "slide"
    monkeypatch.setattr(MMSegSegmenter, "_batches", staticmethod(lambda device: batched))
    segmenter = MMSegSegmenter(config, save(network, tmp_path / "b0.pth"), precision="fp32")
    rgb = photo(64, 200)
    labels = segmenter(batch(rgb), ["a"])[0]
    names = CityscapesDataset.METAINFO["classes"]
    known = [ADE20K_CLASSES.index(name) if name in ADE20K_CLASSES else 255 for name in names]
    expected = torch.tensor(known, dtype=torch.uint8)[reference(network, rgb).long()]
    assert {255} < set(expected.unique().tolist())
    if batched:
        assert (labels == expected).float().mean() > 0.999
    else:
        assert torch.equal(labels, expected)


def test_single_channel_networks(tmp_path):
    from mmengine.config import Config

    config = Config.fromfile(str(small_config(B0, tmp_path)))
    config.model.decode_head.update(num_classes=2, out_channels=1, threshold=0.4)
    config.model.decode_head.loss_decode.use_sigmoid = True
    config.test_dataloader.dataset.metainfo = {"classes": ("water", "Tree")}
    config.dump(str(tmp_path / "binary.py"))
    network = random_network(tmp_path / "binary.py")
    segmenter = MMSegSegmenter(tmp_path / "binary.py", save(network, tmp_path / "binary.pth"))
    rgb = photo(90, 64)
    second = reference(network, rgb).bool()
    assert 0 < second.float().mean() < 1
    water, tree = ADE20K_CLASSES.index("water"), ADE20K_CLASSES.index("tree")
    assert torch.equal(segmenter(batch(rgb), ["a"])[0], torch.where(second, tree, water).byte())


def test_padding_networks(tmp_path):
    from mmengine.config import Config

    config = Config.fromfile(str(small_config(B0, tmp_path)))
    config.model.data_preprocessor.test_cfg = {"size_divisor": 64}
    config.dump(str(tmp_path / "padded.py"))
    network = random_network(tmp_path / "padded.py")
    segmenter = MMSegSegmenter(tmp_path / "padded.py", save(network, tmp_path / "b0.pth"))
    rgb = photo(90, 64)
    assert torch.equal(segmenter(batch(rgb), ["a"])[0], reference(network, rgb).byte())


def test_frozen_and_in_evaluation_mode(small_b0):
    config, checkpoint, _ = small_b0
    segmenter = MMSegSegmenter(config, checkpoint)
    segmenter.prepare()
    segmenter.train()
    assert not any(module.training for module in segmenter.modules())
    assert not any(parameter.requires_grad for parameter in segmenter.parameters())
    with torch.inference_mode():  # as Lightning calls it
        labels = segmenter(batch(photo(90, 64)), ["a"])
    assert len(labels.unique()) > 3


def test_settings_tell_config_and_weights_apart(small_b0, tmp_path):
    config, checkpoint, network = small_b0
    first = MMSegSegmenter(config, checkpoint).settings
    assert json.loads(json.dumps(first)) == first
    copy = tmp_path / "moved.py"
    copy.write_text(config.read_text())
    assert MMSegSegmenter(copy, checkpoint).settings == first
    slides = small_config(B0, tmp_path, mode="slide", crop_size=(64, 64), stride=(32, 32))
    other_weights = save(network, tmp_path / "other.pth", more=1)
    for variant in ((slides, checkpoint), (config, other_weights), (config, checkpoint, "fp32")):
        assert MMSegSegmenter(*variant).settings != first


def test_image_too_narrow(small_b0):
    config, checkpoint, _ = small_b0
    with pytest.raises(InputError, match="long/strip: 800x20 is too narrow"):
        MMSegSegmenter(config, checkpoint)(batch(photo(20, 800)), ["long/strip"])


def test_nan_in_the_weights(small_b0, tmp_path):
    config, _, network = small_b0
    state = network.state_dict() | {"decode_head.conv_seg.bias": torch.full((150,), torch.nan)}
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(InputError, match="answers with NaN"):
        MMSegSegmenter(config, tmp_path / "nan.pth")(batch(photo(64, 64)), ["a"])


# Checkpoints and configs --------------------------------------------------------------------------


class Hostile:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_hostile_checkpoint_is_refused(small_b0, tmp_path, archive):
    config, _, network = small_b0
    meta = {"CLASSES": Hostile(f"touch {tmp_path}/ran")}
    path = tmp_path / "hostile.pth"
    torch.save({"state_dict": network.state_dict(), "meta": meta}, path,
               _use_new_zipfile_serialization=archive)  # fmt: skip
    with pytest.raises(InputError, match="refused") as error:
        MMSegSegmenter(config, path).prepare()
    assert one_line(error)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("archive", [True, False], ids=["zip", "legacy"])
def test_checkpoint_with_a_training_log(small_b0, tmp_path, archive):
    """What mmengine's runner saves: histories, NumPy arrays and scalars, parallel prefixes."""
    from mmengine.logging import HistoryBuffer

    config, _, network = small_b0
    content = {
        "state_dict": {f"module.{name}": value for name, value in network.state_dict().items()},
        "meta": {"dataset_meta": {"classes": ADE20K_CLASSES, "palette": np.zeros((150, 3))}},
        "message_hub": {
            "log_scalars": {"train/loss": HistoryBuffer([1.0, 0.5], [1, 1])},
            "runtime_info": {"lr": np.float64(0.1), "iter": np.int64(7)},
        },
    }
    torch.save(content, tmp_path / "log.pth", _use_new_zipfile_serialization=archive)
    rgb = photo(90, 64)
    labels = MMSegSegmenter(config, tmp_path / "log.pth")(batch(rgb), ["a"])
    assert torch.equal(labels[0], reference(network, rgb).byte())


def change(state: dict, **changes) -> dict:
    return {name: value for name, value in (state | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decode_head.conv_seg.bias": None}, "lacks decode_head.conv_seg.bias"),
        ({"decode_head.more": torch.zeros(1)}, "has decode_head.more"),
        ({"decode_head.conv_seg.bias": torch.zeros(19)}, "size mismatch"),
    ],
)
def test_weights_of_another_network(small_b0, tmp_path, changes, message):
    config, _, network = small_b0
    torch.save(change(network.state_dict(), **changes), tmp_path / "other.pth")
    with pytest.raises(
        InputError, match=f"weights of another network than {B0}.*{message}"
    ) as error:
        MMSegSegmenter(config, tmp_path / "other.pth").prepare()
    assert one_line(error)


@pytest.mark.parametrize(
    ("classes", "message"),
    [(["sky", "sea"], "150 classes in the network, 2 names"), (["x"] * 150, "none of its classes")],
)
def test_classes_that_are_not_ade20k(small_b0, tmp_path, classes, message):
    config, _, network = small_b0
    path = save(network, tmp_path / "b0.pth", meta={"CLASSES": classes})
    with pytest.raises(InputError, match=message):
        MMSegSegmenter(config, path).prepare()


def test_wrong_settings():
    with pytest.raises(InputError, match="did you mean segformer_mit-b5"):
        MMSegSegmenter("segformer_mit-b5_8xb2-160k_ade20k").prepare()
    with pytest.raises(InputError, match=r"weights\.pth: no such file"):
        MMSegSegmenter(B0, "weights.pth").prepare()
    with pytest.raises(InputError, match="fp64"):
        MMSegSegmenter(B0, precision="fp64")
    with pytest.raises(InputError, match="batch_size=0"):
        MMSegSegmenter(B0, batch_size=0)


def test_config_that_cannot_be_built(small_b0, tmp_path):
    config, checkpoint, _ = small_b0
    text = config.read_text().replace("MixVisionTransformer", "NoSuchBackbone")
    (tmp_path / "config.py").write_text(text)
    with pytest.raises(InputError, match=r"cannot be built .*NoSuchBackbone") as error:
        MMSegSegmenter(tmp_path / "config.py", checkpoint).prepare()
    assert one_line(error)


@pytest.mark.parametrize("text", ["model = dict(", "x = 1", "raise SystemError"])
def test_files_that_are_no_config(tmp_path, text):
    (tmp_path / "config.py").write_text(text)
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(InputError, match=r"config\.py") as error:
        _ = MMSegSegmenter(tmp_path / "config.py", tmp_path / "weights.pth").settings
    assert one_line(error)


def test_config_without_known_weights(tmp_path):
    (tmp_path / "mine.py").write_text("model = dict()")
    with pytest.raises(InputError, match=r"give segmenter\.checkpoint=PATH"):
        MMSegSegmenter(tmp_path / "mine.py").prepare()


# The official weights -----------------------------------------------------------------------------


def test_official_weights():
    assert official_checkpoint(find_config(B5)).endswith("_20220617_203542-940a6bd8.pth")
    assert official_checkpoint(find_config(B0)).endswith("_20210726_101530-8ffa8fda.pth")
    assert find_config(f"{B0}.py") == find_config(B0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DESRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache"


def test_without_network_the_ways_on_are_named(cache, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/b5-940a6bd8.pth"
        monkeypatch.setitem(openmmlab._OFFICIAL, B5, url)
        for step in (lambda: MMSegSegmenter().prepare(), lambda: MMSegSegmenter().settings):
            with pytest.raises(InputError) as error:
                step()
            assert one_line(error)
            for way in (url, f"put it at {cache}/b5-940a6bd8.pth", "segmenter.checkpoint=PATH",
                        "segmenter=labels segmenter.root=DIR", "segmenter=none"):  # fmt: skip
                assert way in str(error.value)


def test_official_weights_are_fetched_once(cache, small_b0, tmp_path, monkeypatch):
    content = small_b0[1].read_bytes()
    served = tmp_path / f"b0-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    served.write_bytes(content)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{served.name}"
        monkeypatch.setitem(openmmlab._OFFICIAL, B0, url)
        MMSegSegmenter(B0).prepare()
        server.shutdown()
    assert (cache / served.name).read_bytes() == content
    MMSegSegmenter(B0).prepare()
    (cache / served.name).write_bytes(content[:-1])
    with pytest.raises(InputError, match="SHA-256"):
        MMSegSegmenter(B0).prepare()


# The best class -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7)),
    size=st.one_of(  # enlarged at once, and class by class
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        st.tuples(st.integers(65, 200), st.integers(65, 200)),
    ),
    align_corners=st.booleans(),
    rounded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_resized_argmax(shape, size, align_corners, rounded, seed):
    assume(max(shape[2:]) > 1)
    logits = 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if rounded:  # many equal logits
        logits = logits.round()
    values = [7 * index for index in range(shape[1])]
    enlarged = F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)
    expected = torch.tensor(values, dtype=torch.uint8)[enlarged.argmax(1, keepdim=True)]
    assert torch.equal(resized_argmax(logits, size, align_corners, values), expected)


# The stand-in for mmcv's compiled functions -------------------------------------------------------


def run(program: str, *paths: Path) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, text=True, capture_output=True
    ).stdout


def test_importing_segmenters_imports_no_networks():
    program = (
        "import sys, desra.segmenters; "
        "print({'mmseg', 'mmengine', 'mmcv', 'torchvision'} & set(sys.modules))"
    )
    assert run(program).strip() == "set()"


def test_stand_in_says_what_is_missing():
    pytest.importorskip("mmcv")
    if not install_stand_in():
        pytest.skip("mmcv is installed with its compiled functions")
    from mmcv.ops import nms

    with pytest.raises(InputError, match="needs mmcv's compiled function nms") as error:
        nms(torch.zeros(2, 4), torch.ones(2), 0.5)
    assert one_line(error)
    assert not hasattr(sys.modules["mmcv._ext"], "__path__")


def test_stand_in_leaves_a_real_extension_alone(tmp_path):
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    (tmp_path / "mmcv" / "_ext.py").write_text("real = True")
    program = (
        f"import runpy; name = {str(ROOT / 'desra' / 'segmenters' / 'mmcv_ops.py')!r}; "
        "install = runpy.run_path(name)['install_stand_in']; "  # without torch, which takes seconds
        "print(install(), __import__('mmcv._ext')._ext.real, install())"
    )
    assert run(program, tmp_path).split() == ["False", "True", "False"]


# Label maps and none ------------------------------------------------------------------------------


def write_labels(path: Path, labels: np.ndarray, mode: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "16 bit":
        cv2.imwrite(str(path), labels.astype(np.uint16))
        return
    image = Image.fromarray(labels)
    if mode == "palette":
        image.putpalette(np.random.default_rng(0).bytes(768))
    image.save(path)


LABELS = np.array([[0, 149, 255], [3, 4, 5]], np.uint8)


@pytest.mark.parametrize("mode", ["grey", "palette", "16 bit"])
def test_labels_are_found_by_key(tmp_path, mode):
    write_labels(tmp_path / "sub" / "deep" / "0001.png", LABELS, mode)
    write_labels(tmp_path / "0001.PNG", LABELS[::-1].copy(), mode)
    segmenter = LabelFolder(tmp_path)
    segmenter.prepare()
    labels = segmenter(torch.zeros(2, 3, 2, 3), ["sub/deep/0001", "0001"])
    assert labels.dtype == torch.uint8
    assert torch.equal(labels[:, 0], torch.from_numpy(np.stack([LABELS, LABELS[::-1]])))
    assert segmenter.inputs("0001") == [tmp_path / "0001.PNG"]
    assert segmenter.inputs("0002") == []


def test_one_label_map_for_one_image(tmp_path):
    write_labels(tmp_path / "labels.png", LABELS, "grey")
    segmenter = LabelFolder(tmp_path / "labels.png")
    segmenter.prepare()
    assert segmenter.inputs("photo") == [tmp_path / "labels.png"]
    labels = segmenter(torch.zeros(1, 3, 2, 3, dtype=torch.uint8), ["photo"])
    assert torch.equal(labels[0, 0], torch.from_numpy(LABELS))


def unusable(path: Path, kind: str) -> None:
    if kind == "size":
        write_labels(path, LABELS.T.copy(), "grey")
    elif kind == "value":
        write_labels(path, np.full((2, 3), 150, np.uint8), "grey")
    elif kind == "16 bit value":
        write_labels(path, np.full((2, 3), 300), "16 bit")
    elif kind == "colour":
        write_labels(path, np.zeros((2, 3, 3), np.uint8), "grey")
    elif kind == "text":
        path.write_text("no image")
    elif kind == "truncated":
        write_labels(path, LABELS, "grey")
        path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"sub/a: no label map .*sub/a\.png"),
        ("size", r"a\.png: 2x3, but the image is 3x2"),
        ("value", r"a\.png: value 150 at x=0, y=0 .*subtract 1"),
        ("16 bit value", r"a\.png: value 300"),
        ("colour", r"a\.png: .* this is RGB"),
        ("text", r"a\.png: not an image"),
        ("truncated", r"a\.png: damaged"),
    ],
)
def test_unusable_label_maps(tmp_path, kind, message):
    (tmp_path / "sub").mkdir()
    write_labels(tmp_path / "other.png", LABELS, "grey")
    unusable(tmp_path / "sub" / "a.png", kind)
    with pytest.raises(InputError, match=message) as error:
        LabelFolder(tmp_path)(torch.zeros(1, 3, 2, 3), ["sub/a"])
    assert one_line(error)


def test_two_label_maps_for_one_image(tmp_path):
    write_labels(tmp_path / "a.png", LABELS, "grey")
    write_labels(tmp_path / "a.PNG", LABELS, "grey")
    with pytest.raises(InputError, match="keep one"):
        LabelFolder(tmp_path)(torch.zeros(1, 3, 2, 3), ["a"])


def test_label_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        LabelFolder(tmp_path / "missing")
    with pytest.raises(InputError, match="no images found"):
        LabelFolder(tmp_path).prepare()


def test_none():
    segmenter = NoSegmenter()
    segmenter.prepare()
    assert segmenter(torch.zeros(1, 3, 8, 8), ["a"]) is None
    assert segmenter.inputs("a") == []
    assert segmenter.classes == ()


@pytest.mark.parametrize(
    ("name", "kind"), [("none", NoSegmenter), ("labels", LabelFolder), ("mmseg", MMSegSegmenter)]
)
def test_configs(name, kind, tmp_path):
    config = OmegaConf.load(ROOT / "conf" / "segmenter" / f"{name}.yaml")
    if name == "labels":
        config.root = str(tmp_path)
    segmenter = instantiate(config)
    assert type(segmenter) is kind
    assert segmenter.classes == (() if name == "none" else ADE20K_CLASSES)
