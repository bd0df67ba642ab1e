"""Every command of the manual runs, a page after the other, in a folder with what it names."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import threading
import time
from pathlib import Path
from urllib.request import urlopen

import cv2
import numpy as np
import pytest
import torch
import uvicorn

from desra.images import write_png
from models.discriminators import UNetDiscriminator
from models.generators import RRDBNet, write_generator, zoo
from tests.conftest import add_texture, place_artifact, smooth_photo
from tests.docs.commands import ROOT, blocks, commands, run_command

PAGES = (
    *("README.md", "docs/detect.md", "docs/evaluate.md", "docs/calibrate.md", "docs/upscale.md"),
    *("docs/finetune.md", "docs/add-your-own.md", "docs/share.md", "docs/annotate.md"),
)
SIDE = 96
ALIGNED = "callbacks.alignment_check.least_psnr=null"

TINY_TRAINING = (
    *("iterations=1", "validate_every=1", "trainer=cpu", "data.batch_size=2", "data.gt_crop=32"),
    *("data.val_share=0.34", "logger=csv", "model.discriminator_warmup=0"),
)
TINY_CLEAN = (
    *("data.hr_crop=64", "data.pool_size=4", "data.group_size=2", "data.epoch_steps=1"),
    *("data.unsharp=null",),
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the manual's reader: photos, upscalings, labels, weights."""
    for index in range(3):
        name = f"{index}.png"
        photo = smooth_photo(index, SIDE, SIDE)
        mask = place_artifact((SIDE, SIDE), index)
        small = cv2.resize(photo, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        gan_sr = add_texture(photo, mask, index)
        of_role = {"LR": small, "MSE-SR": photo, "GAN-SR": gan_sr, "DeSRA-Mask": mask}
        for folder, pixels in (of_role | {"GT-Mask": mask}).items():
            write_png(tmp_path / "out" / folder / name, pixels)
        for folder in ("MSE-SR", "GAN-SR", "GT-Mask"):
            write_png(tmp_path / folder / name, (of_role | {"GT-Mask": mask})[folder])
        write_png(tmp_path / "photos" / name, small)
        write_png(tmp_path / "clean_photos" / name, photo)
        write_png(tmp_path / "labels" / name, np.full((SIDE, SIDE), 4, np.uint8))
        for version, pixels in {"original": photo, "01": gan_sr, "02": photo}.items():
            write_png(tmp_path / "sets" / version / name, pixels)
    for index in range(5):
        small = smooth_photo(index, 24, 24)
        write_png(tmp_path / "photos_of_five" / f"{index}.png", small)
    torch.manual_seed(0)
    for name in ("GAN", "GAN_desra", "MSE"):
        write_generator(tmp_path / f"{name}.pth", RRDBNet(features=8, blocks=1, growth=8))
    torch.save({"params": UNetDiscriminator(features=4).state_dict()}, tmp_path / "D.pth")
    # Released weights by name: no network here, and networks that are too large for a test.
    monkeypatch.setattr(zoo, "fetch", lambda *_, **__: tmp_path / "GAN.pth")
    monkeypatch.setattr(uvicorn.Server, "run", serve_briefly)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serve_briefly(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
    """Serve until the page and what it asks for first have been answered, then end by Ctrl+C."""
    answers: list[int] = []

    def ask() -> None:
        while not server.started:
            time.sleep(0.01)
        address = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        for path in ("/", "/page.js", "/api/session"):
            with urlopen(address + path) as answer:
                answers.append(answer.status)
        server.should_exit = True

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    asyncio.run(server.serve(sockets))
    thread.join()
    assert answers == [200, 200, 200]


def shrunk(line: str) -> list[str]:
    """Further overrides that make a command small, and nothing else of it different."""
    if line.startswith("python annotate.py "):
        return ["port=0"]
    if not re.match(r"(python train\.py|desra train) ", line):
        return []
    more = [*TINY_TRAINING]
    if "clean_photos" in line:
        more += TINY_CLEAN
    else:
        # GAN-SR of the desk is not what its networks of no training make.
        more += ["callbacks.artifact_validation.lpips=null", ALIGNED]
    if "experiment=pretrain_mse" in line:
        more += [f"model.generator.{size}" for size in ("features=8", "blocks=1", "growth=4")]
    elif "mse_partner" not in line:
        more.append("model.discriminator.features=4")
    return more


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_runs(page: str, desk: Path, monkeypatch: pytest.MonkeyPatch):
    code = "\n".join(blocks(page, "python"))
    (desk / "mine.py").write_text(code)
    for node in blocks(page, "yaml"):
        path = desk / node.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True)
        path.write_text(node)
    lines = commands(page)
    assert lines
    for line in lines:
        shutil.rmtree(desk / "outputs", ignore_errors=True)
        more = shrunk(line)
        if "ckpt_path" in line:  # a run to go on with
            before = line.partition(" ckpt_path")[0]
            assert run_command(before, more, monkeypatch) == 0, before
            more.append("iterations=2")
        assert run_command(line, more, monkeypatch) == 0, line


def test_a_generator_of_ones_own_upscales(desk: Path, monkeypatch: pytest.MonkeyPatch):
    (desk / "mine.py").write_text("\n".join(blocks("docs/add-your-own.md", "python")))
    line = "python upscale.py input=photos weights=any generator._target_=mine.Bicubic output_dir=b"
    assert run_command(line, [], monkeypatch) == 0
    assert cv2.imread("b/0.png").shape == (SIDE, SIDE, 3)
