"""GAN training of a generator, on pseudo ground truth or on the truth itself."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from desra.errors import InputError
from desra.pseudo_gt import compose
from models.discriminators import load_discriminator
from models.generators import built, load_generator
from models.losses import (
    AdversarialLoss,
    ArtifactLoss,
    NegativeLoss,
    PerceptualLoss,
    PixelLoss,
)
from models.low_rank import LowRankUpdates
from models.run_result import ResultModule
from models.updates import JointUpdate, average_across_ranks, freeze_others

log = logging.getLogger(__name__)

Batch = Mapping[str, Tensor]
NETWORKS = ("generator", "discriminator")


class GANFinetuner(ResultModule):
    """Trains a generator with any of the terms of Real-ESRGAN, LDL and SwinIR, and keeps its
    average.

    The batch holds ``lr`` and either ``gt``, or ``mse_sr``, ``gan_sr`` and ``mask``, of which the
    pseudo ground truth of DeSRA is composed on the device. Where it also holds ``gt_sharp``, pixels
    and features are compared with that; LDL's term and the discriminator see ``gt``, as in the
    releases of Real-ESRGAN and LDL. Terms that are None are not computed; with no adversarial term
    there is no discriminator, and the same module trains MSE models.

    Iterations, which ``trainer.max_steps`` counts, are updates of the generator. Gradients are
    averaged over ranks explicitly (`average_across_ranks`), so any DDP strategy will do and none
    has to search for unused parameters.

    Args:
        generator: maps ``(B, 3, h, w)`` to ``(B, 3, h·s, w·s)``, RGB in [0, 1], with ``.scale``; or
            what makes it of ``generator_weights``.
        discriminator: maps ``(B, 3, H, W)`` to logits; ``discriminator_weights`` replace it.
        pixel: distance of pixels.
        low_frequency: a second pixel term, meant for averages of squares (``pool``).
        perceptual: distance of VGG19 features; a run stops where its weights cannot be had.
        adversarial: loss on the discriminator's logits.
        artifact: LDL's term; costs a forward pass of the EMA generator.
        keep: a further pixel term outside the masks alone, against changes where nothing was wrong.
        keep_perceptual: likewise of features.
        negative: HGGT's term, for batches with negatives; in those of DeSRA GAN-SR is the negative
            and MSE-SR the positive, inside the mask.
        generator_weights: file or name of the generator's weights, for ``generator`` and for the
            record of the run.
        discriminator_weights: file or name of a trained U-Net discriminator.
        discriminator_warmup: updates of the discriminator before the generator moves, where it
            comes without weights.
        learning_rate: Adam's, for both networks.
        discriminator_learning_rate: if it shall differ.
        betas: Adam's, for both networks.
        milestones: iterations after which the learning rates are multiplied by ``gamma``.
        gamma: see ``milestones``.
        ema_decay: of the EMA generator, per iteration.
        feather: pixels over which the pseudo ground truth fades from MSE-SR into GAN-SR.
        accumulate: batches an update. The result is that of one batch of their total size.
        clip_norm: largest norm of each network's gradient; None does not clip.
        patience: so many updates in a row with non-finite gradients stop the run; fewer are left
            out.
        channels_last: memory layout of the networks; faster convolutions on most processors.
        trained: regular expression that finds the names of the generator's parameters to train.
        low_rank: rank of the changes of their weights, if it shall be limited (`LowRankUpdates`).
        compile: run the generator through ``torch.compile``.
        seed: of random draws inside the networks, such as SwinIR's stochastic depth.

    Example:
        >>> from models.generators import SRVGGNetCompact
        >>> from models.losses import PixelLoss
        >>> module = GANFinetuner(SRVGGNetCompact(features=8, depth=2), pixel=PixelLoss())
        >>> mse_sr, gan_sr = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
        >>> mask = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
        >>> module.target({"mse_sr": mse_sr, "gan_sr": gan_sr, "mask": mask}).unique()
        tensor([1.])
    """

    def __init__(
        self,
        generator: nn.Module | Callable[[str], nn.Module] = load_generator,
        discriminator: nn.Module | None = None,
        *,
        pixel: PixelLoss | None = None,
        low_frequency: PixelLoss | None = None,
        perceptual: PerceptualLoss | None = None,
        adversarial: AdversarialLoss | None = None,
        artifact: ArtifactLoss | None = None,
        negative: NegativeLoss | None = None,
        keep: PixelLoss | None = None,
        keep_perceptual: PerceptualLoss | None = None,
        generator_weights: str | None = None,
        discriminator_weights: str | None = None,
        discriminator_warmup: int = 0,
        learning_rate: float = 1e-4,
        discriminator_learning_rate: float | None = None,
        betas: Sequence[float] = (0.9, 0.99),
        milestones: Sequence[int] = (),
        gamma: float = 0.5,
        ema_decay: float = 0.999,
        feather: int = 0,
        accumulate: int = 1,
        clip_norm: float | None = None,
        patience: int = 20,
        channels_last: bool = True,
        trained: str | None = None,
        low_rank: int | None = None,
        compile: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        betas, milestones = [float(beta) for beta in betas], [int(step) for step in milestones]
        terms = {
            "pixel": pixel,
            "low_frequency": low_frequency,
            "perceptual": perceptual,
            "adversarial": adversarial,
            "artifact": artifact,
            "negative": negative,
            "keep": keep,
            "keep_perceptual": keep_perceptual,
        }
        self.save_hyperparameters(ignore=["generator", "discriminator", *terms])
        self.save_hyperparameters({name: term and term.settings for name, term in terms.items()})
        if not any(terms.values()):
            raise InputError(
                "model: no loss term is on; set one of model.pixel, model.perceptual, …"
            )
        if adversarial is not None and discriminator is discriminator_weights is None:
            raise InputError("model.adversarial needs model.discriminator, or weights of one")
        self.automatic_optimization = False
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.generator = built(generator, generator_weights).requires_grad_(True)
        if trained is not None:
            freeze_others(self.generator, trained)
        if discriminator_weights is not None and adversarial is not None:
            discriminator = load_discriminator(discriminator_weights)
        self.discriminator = discriminator if adversarial is not None else None
        self.to(memory_format=self.memory_format)
        self.pixel, self.low_frequency, self.perceptual = pixel, low_frequency, perceptual
        self.adversarial, self.artifact, self.negative = adversarial, artifact, negative
        self.keep, self.keep_perceptual = keep, keep_perceptual
        self._low_rank = None if low_rank is None else LowRankUpdates(self.generator, low_rank)
        self.ema = AveragedModel(self.plain_generator, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
        self.ema.requires_grad_(False)
        self.ema.n_averaged.fill_(1)  # the EMA starts from the given weights, not from step 1
        untrained = self.discriminator is not None and discriminator_weights is None
        self.warmup_left = discriminator_warmup if untrained else 0
        self.update = JointUpdate(clip_norm, patience)
        self.accumulate, self.feather, self.batches_seen = accumulate, feather, 0
        self._losses: dict[str, Tensor] = {}
        self._restored_gradients: dict[str, Tensor] = {}

    @property
    def plain_generator(self) -> nn.Module:
        """The generator that is trained, low-rank changes merged into its weights."""
        return self.generator if self._low_rank is None else self._low_rank.merged()

    @property
    def _perceptual_terms(self) -> list[PerceptualLoss]:
        return [term for term in (self.perceptual, self.keep_perceptual) if term is not None]

    # --- set-up -----------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Download what the perceptual term needs, once a machine."""
        for term in self._perceptual_terms:
            # Raised here, on one rank, it would leave the others waiting; `setup` says it on all.
            with suppress(InputError):
                term.fetch()

    def setup(self, stage: str) -> None:
        """Check the strategy and build the frozen network of the perceptual term.

        Raises:
            InputError: another strategy than one device or DDP, or no perceptual weights.
        """
        if stage != "fit":
            return
        if not isinstance(self.trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            name = type(self.trainer.strategy).__name__
            raise InputError(f"trainer.strategy: {name} cannot train two networks; use auto or ddp")
        # The EMA generator, and VGG, which is frozen, are meant to be.
        warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")
        # Iterations are logged whatever the length of an epoch.
        warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")
        for term in self._perceptual_terms:
            term.load()
        self.train()  # networks come from their files in evaluation mode
        if self.hparams["compile"]:
            self.generator.compile()

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        """Adam and a schedule for each network; both step in `training_step`."""
        rates = [self.hparams["learning_rate"]]
        rates.append(self.hparams["discriminator_learning_rate"] or rates[0])
        networks = [self.generator, *([self.discriminator] if self.discriminator else [])]
        # The update below unscales gradients before it steps, which of Adam's implementations only
        # the fused one allows under Lightning's 16-bit plugin. It is the fastest anyway.
        betas = tuple(self.hparams["betas"])
        optimizers: list[Optimizer] = [
            Adam([p for p in network.parameters() if p.requires_grad], rate, betas, fused=True)
            for network, rate in zip(networks, rates, strict=False)
        ]
        schedules: list[LRScheduler] = [
            MultiStepLR(optimizer, self.hparams["milestones"], self.hparams["gamma"])
            for optimizer in optimizers
        ]
        return optimizers, schedules

    def train(self, mode: bool = True) -> GANFinetuner:
        """Set the mode of all networks but the EMA generator, which is only ever evaluated."""
        super().train(mode)
        self.ema.eval()
        return self

    # --- a step -----------------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses and gradients of one batch; an update where the accumulated batches are complete.

        The gradients of all terms meet at the generator's output and go through the generator once.
        So each term's graph is freed before the next one's is made, and peak memory holds the
        generator's activations beside those of VGG or of the discriminator, never of both.
        """
        lr, gt = self._in_memory_format(batch["lr"]), self._in_memory_format(self.target(batch))
        sharp = self._in_memory_format(batch["gt_sharp"]) if "gt_sharp" in batch else gt
        with self._without_ddp_hooks(), self._reproducible_draws():
            with torch.set_grad_enabled(self.warmup_left == 0):
                output = self.generator(lr)
            image = output.detach().float().requires_grad_()
            losses = self._image_losses(image, gt, sharp, batch)
            losses |= self._adversarial_losses(image, gt)
            if self.warmup_left == 0:
                output.backward(image.grad.to(output.dtype))
        for name, value in losses.items():
            self._losses[name] = self._losses.get(name, 0) + value.detach() / self.accumulate
        self.update.images += [str(key) for key in batch.get("keys", ())]
        self.batches_seen += 1
        if self.batches_seen % self.accumulate == 0:
            self._update()

    def target(self, batch: Batch) -> Tensor:
        """What the output is compared with: the batch's ``gt``, or else the pseudo ground truth."""
        if "gt" in batch:
            return batch["gt"]
        images = batch["mse_sr"], batch["gan_sr"], batch["mask"]
        return compose(*images, self.feather, batch.get("weight"))

    def _image_losses(
        self, image: Tensor, gt: Tensor, sharp: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Terms that compare output and target; their gradient is added to ``image.grad``."""
        if self.warmup_left > 0:
            return {}
        losses = {}
        if self.pixel is not None:
            losses["pixel"] = self.pixel(image, sharp)
        if self.low_frequency is not None:
            losses["low_frequency"] = self.low_frequency(image, sharp)
        for name in ("keep", "keep_perceptual"):
            term = getattr(self, name)
            if term is not None and "mask" in batch:
                losses[name] = term(torch.where(batch["mask"], sharp, image), sharp)
        if self.artifact is not None:
            with torch.no_grad():
                stable_output = self.ema(self._in_memory_format(batch["lr"]))
            losses["artifact"] = self.artifact(image, gt, stable_output)
        if self.perceptual is not None:
            losses["perceptual"] = self.perceptual(image, sharp)
        if self.negative is not None:
            losses["negative"] = self.negative(image, batch)
        if losses:
            self._backward(torch.stack(list(losses.values())).sum(), [image])
        return losses

    def _adversarial_losses(self, image: Tensor, gt: Tensor) -> dict[str, Tensor]:
        """The adversarial term, added to ``image.grad``, and the discriminator's own gradients.

        The discriminator sees the output once: the graph of that pass gives the generator's
        gradient (its own weights left out) and then the discriminator's (the output left out).
        """
        if self.discriminator is None or self.adversarial is None:
            return {}
        losses = {}
        weights = list(self.discriminator.parameters())
        # Spectral norm takes a power iteration in every pass in training mode. One an update, as in
        # Miyato et al., keeps all passes between two updates the same function of the weights.
        self.discriminator.train(self.batches_seen % self.accumulate == 0)
        fake_logits = self.discriminator(image)
        self.discriminator.eval()
        if self.warmup_left == 0:
            losses["adversarial"] = self.adversarial(fake_logits)
            self._backward(losses["adversarial"], [image], retain_graph=True)
        losses["discriminator_fake"] = self.adversarial.discriminator(fake_logits, real=False)
        self._backward(losses["discriminator_fake"], weights)
        real_logits = self.discriminator(gt)
        losses["discriminator_real"] = self.adversarial.discriminator(real_logits, real=True)
        self._backward(losses["discriminator_real"], weights)
        return losses

    def _backward(self, loss: Tensor, inputs: Sequence[Tensor], retain_graph: bool = False) -> None:
        """Add the gradient of a loss to that of ``inputs`` alone, with Lightning's loss scaling."""
        loss = loss / self.accumulate
        self.manual_backward(loss, inputs=list(inputs), retain_graph=retain_graph)

    def _in_memory_format(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self.memory_format)

    def _without_ddp_hooks(self) -> AbstractContextManager[None]:
        wrapped = self.trainer.strategy.model
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()

    @contextmanager
    def _reproducible_draws(self) -> Iterator[None]:
        """Random numbers of seed, rank and batch alone, so that a resumed run draws the same."""
        source = np.random.SeedSequence([self.hparams["seed"], self.global_rank, self.batches_seen])
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(int(source.generate_state(1, np.uint64)[0]))
            yield

    # --- an update --------------------------------------------------------------------------------

    def _update(self) -> None:
        """Step the networks that have gradients, the schedules, and the EMA."""
        optimizers = dict(zip(NETWORKS, _as_list(self.optimizers()), strict=False))
        losses = torch.stack(list(self._losses.values()))
        norms = self.update(self, optimizers, counted="generator", travellers=[losses])
        if "generator" in norms:
            self.ema.update_parameters(self.plain_generator)
            for schedule in _as_list(self.lr_schedulers()):
                schedule.step()
        elif norms:
            self.warmup_left -= 1
        shares = dict(zip(self._losses, losses, strict=True))
        whole = [value for name, value in shares.items() if not name.startswith("discriminator")]
        if whole:
            self.log("loss/generator", torch.stack(whole).sum(), prog_bar=True)
        self.log_dict({f"loss/{name}": value for name, value in shares.items()})
        self.log_dict({f"gradient_norm/{name}": norm for name, norm in norms.items()})
        self.log("learning_rate", optimizers["generator"].param_groups[0]["lr"])
        self.log("skipped_steps", float(self.update.skipped))
        self._losses = {}

    # --- checkpoints ------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what no optimiser keeps: counts, and gradients that are being accumulated."""
        gradients = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
        average_across_ranks(list(gradients.values()))
        checkpoint["finetuner"] = {
            "batches_seen": self.batches_seen,
            "warmup_left": self.warmup_left,
            "update": self.update.state_dict(),
            "gradients": gradients,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the counts and the gradients."""
        state = checkpoint["finetuner"]
        self.batches_seen, self.warmup_left = state["batches_seen"], state["warmup_left"]
        self.update.load_state_dict(state["update"])
        self._restored_gradients = state["gradients"]

    def on_train_start(self) -> None:
        """Give gradients of a checkpoint back to their parameters, which are on the device now."""
        parameters = dict(self.named_parameters())
        for name, gradient in self._restored_gradients.items():
            parameters[name].grad = gradient.to(parameters[name].device)
        self._restored_gradients = {}


def _as_list(found: Any) -> list[Any]:
    """Lightning gives a single optimiser or schedule bare."""
    return found if isinstance(found, list) else [found]
