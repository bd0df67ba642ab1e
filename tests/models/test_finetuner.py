"""Steps against plain PyTorch, and runs that are stopped, resumed and shared among ranks."""

from __future__ import annotations

import copy
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional as F

from callbacks.checkpoints import WholeCheckpoints
from desra.errors import InputError
from desra.ldl import artifact_map
from models.discriminators import UNetDiscriminator
from models.finetuner import GANFinetuner
from models.generators import RRDBNet, load_generator, write_generator
from models.losses import AdversarialLoss, PerceptualLoss, PixelLoss
from models.upscaler import Upscaler
from tests.models.finetuning import (
    SaveAt,
    assert_same_weights,
    fit,
    loader,
    make_batches,
    make_data,
    make_finetuner,
    make_noisy,
    weights_of,
    write_artifact_set,
)

REPOSITORY = Path(__file__).resolve().parents[2]


# The mathematics of a step


def test_steps_equal_plain_pytorch() -> None:
    """Three iterations written out, with separate passes and nothing shared between them."""
    batches = make_batches(3)
    module = make_finetuner(
        normed=False,
        clip_norm=0.5,
        milestones=[2],
        gamma=0.1,
    )
    generator, discriminator = copy.deepcopy(module.generator), copy.deepcopy(module.discriminator)
    average = copy.deepcopy(generator)
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.99), foreach=False)
        for network in (generator, discriminator)
    ]
    real, fake = torch.ones(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    for step, batch in enumerate(batches):
        gt = batch["mask"] * batch["mse_sr"] + ~batch["mask"] * batch["gan_sr"]
        output = generator(batch["lr"])
        weight = artifact_map(gt, output, average(batch["lr"]).detach())
        loss = F.l1_loss(output, gt) + F.l1_loss(weight * output, weight * gt)
        loss = loss + 0.1 * F.binary_cross_entropy_with_logits(discriminator(output), real)
        gradients = torch.autograd.grad(loss, list(generator.parameters()))
        for parameter, gradient in zip(generator.parameters(), gradients, strict=True):
            parameter.grad = gradient
        nn.utils.clip_grad_norm_(generator.parameters(), 0.5)
        optimizers[0].step()
        discriminator.zero_grad()
        F.binary_cross_entropy_with_logits(discriminator(gt), real).backward()
        F.binary_cross_entropy_with_logits(discriminator(output.detach()), fake).backward()
        nn.utils.clip_grad_norm_(discriminator.parameters(), 0.5)
        optimizers[1].step()
        with torch.no_grad():
            for mean, value in zip(average.parameters(), generator.parameters(), strict=True):
                mean.copy_(0.9 * mean + 0.1 * value)
        if step == 1:
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = 1e-4

    before = weights_of(module.generator)
    trainer = fit(module, loader(batches), steps=3)
    assert trainer.global_step == 3
    assert (weights_of(module.generator) - before).abs().max() > 1e-3
    for found, expected in (
        (module.generator, generator),
        (module.discriminator, discriminator),
        (module.ema.module, average),
    ):
        torch.testing.assert_close(weights_of(found), weights_of(expected), rtol=0, atol=2e-6)


def test_accumulated_batches_equal_one_batch() -> None:
    batches = make_batches(4)
    joined = [
        {key: torch.cat([first[key], second[key]]) for key in first}
        for first, second in (batches[:2], batches[2:])
    ]
    once, twice = make_finetuner(), make_finetuner(accumulate=2)
    fit(once, loader(joined), steps=2)
    trainer = fit(twice, loader(batches), steps=2)
    assert trainer.global_step == 2
    torch.testing.assert_close(weights_of(twice), weights_of(once), rtol=0, atol=2e-6)
    losses = {key: value for key, value in trainer.callback_metrics.items() if "loss/" in key}
    assert losses.keys() >= {"loss/pixel", "loss/artifact", "loss/adversarial"}


def test_trains_on_the_truth_without_a_discriminator() -> None:
    batches = [{"lr": batch["lr"], "gt": batch["gan_sr"]} for batch in make_batches(1) * 30]
    module = GANFinetuner(
        RRDBNet(features=8, blocks=1, growth=8), pixel=PixelLoss(), learning_rate=1e-2
    )
    seen: list[float] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            seen.append(trainer.callback_metrics["loss/pixel"].item())

    trainer = fit(module, loader(batches), 30, [Watch()])
    assert trainer.global_step == 30
    assert seen[-1] < 0.7 * seen[0]
    assert not any("discriminator" in key for key in module.state_dict())


def test_untrained_discriminator_is_warmed_up_first() -> None:
    module = make_finetuner(discriminator_warmup=2)
    generator = copy.deepcopy(module.generator)
    discriminator = copy.deepcopy(module.discriminator)
    states: list[tuple[bool, bool, int]] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            states.append(
                (
                    torch.equal(weights_of(module.generator), weights_of(generator)),
                    torch.equal(weights_of(module.discriminator), weights_of(discriminator)),
                    trainer.global_step,
                )
            )

    fit(module, loader(make_batches(4)), 2, [Watch()])
    assert states == [(True, False, 0), (True, False, 0), (False, False, 1), (False, False, 2)]


def test_pseudo_ground_truth_is_composed_of_the_batch() -> None:
    (batch,) = make_batches(1)
    target = make_finetuner().target(batch)
    inside = batch["mask"].expand_as(target)
    assert torch.equal(target[inside], batch["mse_sr"][inside])
    assert torch.equal(target[~inside], batch["gan_sr"][~inside])
    weighted = make_finetuner().target({**batch, "weight": torch.full_like(target[:, :1], 0.25)})
    mixed = 0.25 * batch["mse_sr"] + 0.75 * batch["gan_sr"]
    torch.testing.assert_close(weighted, torch.where(inside, mixed, batch["gan_sr"]))


def test_pixels_and_features_are_compared_with_the_sharpened_truth() -> None:
    """LDL's term and the discriminator see the truth as it is (gan_gt_usm of csjliang/LDL)."""
    (batch,) = make_batches(1)
    plain = {"lr": batch["lr"], "gt": batch["gan_sr"]}
    sharpened = plain | {"gt_sharp": batch["mse_sr"]}
    losses = []
    for given in (plain, sharpened):
        module = make_finetuner(perceptual=RememberTarget(), low_frequency=PixelLoss(pool=2))
        trainer = fit(module, loader([given]), 1)
        assert module.perceptual.target is not None
        assert torch.equal(module.perceptual.target, given.get("gt_sharp", given["gt"]))
        losses.append(trainer.callback_metrics)
        output = make_finetuner().generator(batch["lr"])
        for name, pool in (("pixel", 1), ("low_frequency", 2)):
            expected = PixelLoss(pool=pool)(output, given.get("gt_sharp", given["gt"]))
            torch.testing.assert_close(losses[-1][f"loss/{name}"], expected.detach())
    for name in ("artifact", "discriminator_real", "adversarial"):
        assert torch.equal(*(found[f"loss/{name}"] for found in losses))


class RememberTarget(PerceptualLoss):
    """Knows what it was given; costs nothing."""

    output: Tensor | None = None
    target: Tensor | None = None

    def load(self) -> None:
        """Need no weights."""

    def fetch(self) -> Path:
        return Path()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        self.output, self.target = output.detach(), target
        return 0 * output.sum()


# Numbers that are not finite


def poisoned(batches: list[dict[str, Tensor]], *which: int) -> list[dict[str, Tensor]]:
    return [
        {**batch, "gan_sr": batch["gan_sr"] * float("nan")} if index in which else batch
        for index, batch in enumerate(batches)
    ]


def test_steps_with_non_finite_gradients_are_left_out_and_counted() -> None:
    batches = make_batches(4)
    with_gap, without = make_finetuner(normed=False), make_finetuner(normed=False)
    trainer = fit(with_gap, loader(poisoned(batches, 1)), 3)
    assert trainer.callback_metrics["skipped_steps"] == 1
    assert with_gap.update.skipped_in_a_row == 0
    fit(without, loader([batches[index] for index in (0, 2, 3)]), 3)
    assert torch.equal(weights_of(with_gap.ema), weights_of(without.ema))
    assert torch.equal(weights_of(with_gap.generator), weights_of(without.generator))


def test_run_stops_when_non_finite_gradients_persist() -> None:
    module = make_finetuner(patience=3)
    batches = [{**batch, "keys": [f"set/{index}"]} for index, batch in enumerate(make_batches(9))]
    with pytest.raises(InputError, match="not finite for 3 updates in a row") as error:
        fit(module, loader(poisoned(batches, 1, 3, 4, 5)), 9)
    assert "\n" not in str(error.value)
    assert "(4 in all; the last of set/5); lower" in str(error.value)
    assert module.update.skipped == 4


# Precision


def test_bfloat16_run_stays_near_float32() -> None:
    exact, rounded = make_finetuner(), make_finetuner()
    fit(exact, loader(make_batches(6)), 6)
    fit(rounded, loader(make_batches(6)), 6, precision="bf16-mixed")
    assert all(value.dtype == torch.float32 for value in rounded.generator.parameters())
    moved = (weights_of(exact.generator) - weights_of(make_finetuner().generator)).norm()
    apart = (weights_of(exact.generator) - weights_of(rounded.generator)).norm()
    assert 0 < apart < 0.5 * moved


def scaled(init_scale: float, compute: torch.dtype) -> MixedPrecision:
    """Lightning's 16-bit mixed precision, which it gives to GPUs alone, on the CPU."""
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=init_scale))
    autocast = torch.autocast("cpu", torch.float16, enabled=compute == torch.float16)
    plugin.autocast_context_manager = lambda: autocast  # type: ignore[method-assign]
    return plugin


def test_loss_scale_changes_nothing() -> None:
    """Gradients of both networks are unscaled once, and before they are clipped."""
    plain, module = make_finetuner(clip_norm=0.5), make_finetuner(clip_norm=0.5)
    fit(plain, loader(make_batches(4)), 4)
    fit(module, loader(make_batches(4)), 4, plugins=[scaled(2.0**10, torch.float32)])
    torch.testing.assert_close(weights_of(module), weights_of(plain), rtol=0, atol=1e-6)


def test_loss_scale_is_found_by_skipping_overflows() -> None:
    module, plugin = make_finetuner(), scaled(2.0**30, torch.float16)
    before, average = weights_of(module.generator), weights_of(module.ema)
    moved: list[bool] = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
            same = torch.equal(weights_of(module.ema), average)
            assert same == torch.equal(weights_of(module.generator), before)
            moved.append(not same)

    trainer = fit(module, loader(make_batches(40)), 3, [Watch()], plugins=[plugin])
    skipped = module.update.skipped
    assert 0 < skipped == trainer.callback_metrics["skipped_steps"]
    # the scale is halved once an update, not once a network
    assert plugin.scaler.get_scale() == 2.0 ** (30 - skipped)
    assert moved == [False] * skipped + [True] * 3
    assert weights_of(module.generator).isfinite().all()


# Runs over files: stopping and going on


@pytest.fixture(scope="module")
def artifact_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_artifact_set(tmp_path_factory.mktemp("set"))


@pytest.mark.parametrize(
    ("saved_after", "settings"),
    [
        (3, {"milestones": [4], "discriminator_warmup": 1}),  # in the middle of an epoch
        (4, {}),  # at the end of one
        (5, {"accumulate": 2}),  # between an accumulated batch and the next
    ],
)
def test_resumed_run_equals_uninterrupted_run(
    artifact_set: Path, tmp_path: Path, saved_after: int, settings: dict[str, Any]
) -> None:
    steps = 4 if "accumulate" in settings else 7
    path = tmp_path / "saved.ckpt"
    straight = make_noisy(**settings)
    fit(straight, make_data(artifact_set, val_share=0.0), steps, [SaveAt(saved_after, path)])

    torch.manual_seed(99)
    resumed = make_noisy(**settings)
    trainer = fit(resumed, make_data(artifact_set, val_share=0.0), steps, ckpt_path=path)
    assert trainer.global_step == steps
    assert resumed.batches_seen == straight.batches_seen
    assert_same_weights(resumed, straight)
    assert torch.load(path, weights_only=True)["hyper_parameters"]["pixel"]["weight"] == 1.0


def test_validation_upscales_with_the_averaged_generator(artifact_set: Path) -> None:
    module, seen = make_finetuner(), {}

    class Watch(Callback):
        def on_validation_batch_end(
            self, trainer: Trainer, _: Any, outputs: Any, batch: Any, *__: Any
        ) -> None:
            with torch.no_grad():
                seen[batch["keys"][0]] = (outputs["finetuned"], module.ema.module(batch["lr"]))

    fit(module, make_data(artifact_set), 4, [Watch()])
    assert len(seen) == 2
    inner = (..., slice(40, -40), slice(36, -36))  # zero padding changes what is near the edge
    for found, expected in seen.values():
        assert found.shape == (1, 3, 96, 80)
        torch.testing.assert_close(found[inner], expected[inner].clamp(0, 1), rtol=0, atol=1e-4)
    assert not [key for key in module.state_dict() if "upscaler" in key]


def test_validation_and_renewed_masks_see_the_same_image_in_mixed_precision(
    artifact_set: Path,
) -> None:
    module, seen = make_noisy(), []  # runs on PyTorch's own convolutions, which autocast rounds

    class Watch(Callback):
        def on_validation_batch_end(
            self, trainer: Trainer, _: Any, outputs: Any, batch: Any, *__: Any
        ) -> None:
            renewed = Upscaler(module.ema.module)(batch["lr"]).clamp(0, 1)
            seen.append(torch.equal(outputs["finetuned"], renewed))

    fit(module, make_data(artifact_set), 4, [Watch()], precision="bf16-mixed")
    assert seen
    assert all(seen)


def test_damaged_checkpoint_is_one_line(artifact_set: Path, tmp_path: Path) -> None:
    path = tmp_path / "saved.ckpt"
    fit(make_noisy(), make_data(artifact_set), 1, [SaveAt(1, path)])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"saved.ckpt"):
        fit(make_noisy(), make_data(artifact_set), 2, ckpt_path=path)


def test_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path, io = tmp_path / "last.ckpt", WholeCheckpoints()
    io.save_checkpoint({"step": 1}, path)
    with pytest.raises(AttributeError, match="lambda"):
        io.save_checkpoint({"weights": torch.zeros(10**6), "step": lambda: 2}, path)
    assert io.load_checkpoint(path) == {"step": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_killed_at_any_moment_the_last_checkpoint_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(10**6)}, path)
    for attempt in range(8):
        child = os.fork()
        if child == 0:  # writes until it is killed
            while True:
                WholeCheckpoints().save_checkpoint({"weights": torch.zeros(10**6)}, path)
        time.sleep(random.Random(attempt).uniform(0.005, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert WholeCheckpoints().load_checkpoint(path)["weights"].shape == (10**6,)


# Several ranks


def test_two_ranks_give_the_weights_of_one_and_stop_together(
    artifact_set: Path, tmp_path: Path
) -> None:
    """Two processes share each batch of four; the first is asked to stop after the third step."""
    script = Path(__file__).with_name("finetuning.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(artifact_set), str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    third, stopped = tmp_path / "third.ckpt", tmp_path / "stopped.ckpt"
    try:
        while not third.exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM, errors

    module = make_finetuner(discriminator_warmup=1)
    untrained = copy.deepcopy(module)
    fit(module, make_data(artifact_set, 4, val_share=0.0), 2)
    found = torch.load(third, weights_only=True)["state_dict"]
    assert found.keys() == module.state_dict().keys()
    assert any("weight_u" in key for key in found)
    for key, value in module.state_dict().items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=1e-6)
    assert (weights_of(module.generator) - weights_of(untrained.generator)).abs().max() > 1e-3

    steps = torch.load(stopped, weights_only=True)["global_step"]
    trainer = fit(module, make_data(artifact_set, 4, val_share=0.0), steps + 1, ckpt_path=stopped)
    assert trainer.global_step == steps + 1


# Weights that are not there


@pytest.fixture
def no_vgg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without VGG's weights and without a network."""
    monkeypatch.setenv("DESRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in (
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "generator.pth"
    write_generator(path, RRDBNet(features=8, blocks=1, growth=8))
    return path


def from_file(weights: Path) -> GANFinetuner:
    terms = {"pixel": PixelLoss(), "perceptual": PerceptualLoss()}
    return GANFinetuner(generator_weights=str(weights), **terms)


def test_a_run_stops_where_the_perceptual_term_cannot_be_had(no_vgg: None, weights: Path) -> None:
    with pytest.raises(InputError, match=r"perceptual loss: .*perceptual=l1") as error:
        fit(from_file(weights), loader(make_batches(1)), 1)
    assert "\n" not in str(error.value)


def test_generator_and_discriminator_come_from_files(weights: Path, tmp_path: Path) -> None:
    discriminator = UNetDiscriminator(features=4)
    torch.save({"params": discriminator.state_dict()}, tmp_path / "d.pth")
    module = GANFinetuner(
        generator_weights=str(weights),
        discriminator_weights=str(tmp_path / "d.pth"),
        discriminator_warmup=5,
        adversarial=AdversarialLoss(),
    )
    assert_same_weights(module.discriminator, discriminator)
    assert_same_weights(module.generator, load_generator(weights))
    assert module.warmup_left == 0
    fit(module, loader(make_batches(1)), 1)
    assert module.generator.training


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator": RRDBNet(features=8, blocks=1, growth=8)}, "no loss term is on"),
        ({"pixel": PixelLoss()}, "generator_weights: none given"),
        ({"adversarial": AdversarialLoss()}, "needs model.discriminator"),
        ({"pixel": PixelLoss(), "generator_weights": "nowhere.pth"}, "nowhere.pth: no such file"),
    ],
)
def test_wrong_settings_are_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GANFinetuner(**settings)


def test_the_keeping_terms_see_what_is_outside_the_masks_alone() -> None:
    batches = make_batches(1)
    terms = {"keep": PixelLoss(2.0), "keep_perceptual": RememberTarget()}
    module = make_finetuner(pixel=None, adversarial=None, artifact=None, **terms)
    with torch.no_grad():
        output = module.generator(batches[0]["lr"])
    outside = ~batches[0]["mask"].expand_as(output)
    expected = 2 * ((output - batches[0]["gan_sr"]).abs() * outside).mean()
    trainer = fit(module, loader(batches), 1)
    assert trainer.callback_metrics["loss/keep"].item() == pytest.approx(float(expected), rel=1e-5)
    seen, target = module.keep_perceptual.output, module.keep_perceptual.target
    assert torch.equal(seen[~outside], target[~outside])
    torch.testing.assert_close(seen[outside], output[outside])


def test_parameters_that_are_not_trained_stay() -> None:
    module = make_finetuner(adversarial=None, artifact=None, trained="conv_last")
    before = {name: value.clone() for name, value in module.generator.state_dict().items()}
    fit(module, loader(make_batches(2)), 2)
    for name, value in module.generator.state_dict().items():
        assert torch.equal(value, before[name]) == ("conv_last" not in name), name


@pytest.mark.parametrize("trained", ["nothing_like_it", "("])
def test_parameters_that_are_not_there_are_one_line(trained: str) -> None:
    with pytest.raises(InputError, match=r"model\.trained="):
        make_finetuner(trained=trained)
