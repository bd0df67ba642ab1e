"""Choice of a run's result: which EMA state, and how far from the original weights towards it."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor, nn

from desra.errors import InputError
from desra.files import atomic_path
from desra.images import quantize
from desra.judge import Judged
from desra.metrics.finetuning import FinetuningScores
from models.finetuner import GANFinetuner

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]

ALIKE = 0.02
"""Steps in which removal counts where the goal is not reached: training goes on to remove a little
more for long, and by then changes what was right, or adds to images that it has not been shown."""
REACHED = 2
"""First place of a rank: the goal is met, nothing is added."""


@dataclass(frozen=True)
class Candidate:
    """Weights that were tried on the validation images.

    Attributes:
        iteration: of the EMA state.
        strength: share of the way from the original weights to it, in (0, 1].
        removal: the smaller one of the removal rates of regions and of pixels; NaN where there was
            nothing to remove.
        addition: share of images with a new region.
        psnr_outside: beside the original GAN-SR outside the artifacts, in dB.
        lpips_outside: likewise; None where LPIPS is left out.
    """

    iteration: int
    strength: float
    removal: float
    addition: float
    psnr_outside: float
    lpips_outside: float | None = None


class ResultChoice:
    """Chooses the EMA state and the strength that remove enough, add nothing and change least.

    Networks between the original and the finetuned weights trade removal against fidelity (Wang et
    al., CVPR 2019). At each validation the weakest strength that reaches the goal is found by
    bisection, and every strength tried competes by this rule, also with those of earlier states:

    1. removes at least ``removal_goal`` with no addition: the nearest to GAN-SR outside the
       artifacts (PSNR) wins;
    2. else, no addition: the one that removes most, in steps of two points, and is then nearest;
    3. else the fewest additions.

    One set of weights is kept, the best so far; it is in the checkpoint, so that a resumed run
    chooses the same. Under DDP each rank upscales its share and all see the same metrics.

    Args:
        removal_goal: wanted share of what was detected, of regions and of pixels alike.
        probes: upscalings of the validation images a validation at most, beside the one at full
            strength.
        patience: validations in a row without a better candidate that stop the run; None: never.
        plot: picture of the candidates, written at the end; None: none.

    Raises:
        InputError: settings that cannot be used.
    """

    def __init__(
        self,
        removal_goal: float = 0.95,
        probes: int = 3,
        patience: int | None = None,
        plot: str | Path | None = None,
    ) -> None:
        name = "callbacks.artifact_validation.choice"
        if not 0 < removal_goal <= 1:
            raise InputError(f"{name}.removal_goal={removal_goal}: give a share of up to 1")
        if probes < 0 or (patience is not None and patience < 1):
            raise InputError(f"{name}: give probes of 0 or more, and a patience of 1 or null")
        self.removal_goal, self.probes, self.patience = removal_goal, probes, patience
        self.plot = None if plot is None else Path(plot)
        self.candidates: list[Candidate] = []
        self.best: Candidate | None = None
        self.weights: Weights = {}
        self.waited = 0
        self.seconds = 0.0
        self._original: Weights = {}
        self._began = time.perf_counter()

    def setup(self, module: GANFinetuner) -> None:
        """Remember the original weights, before anything is trained or restored."""
        if not self._original:
            self._original = _copy(module.ema.module)

    def begin(self) -> None:
        """Take the time from here: training begins."""
        self._began = time.perf_counter()

    def rank(self, candidate: Candidate) -> tuple[int, float, float, float]:
        """Place in the order of the rule; more is better, and of equals the weaker."""
        # Nothing detected before: nothing to remove, and the goal is met.
        removal = 1.0 if math.isnan(candidate.removal) else candidate.removal
        if candidate.addition > 0:
            return 0, -candidate.addition, removal, -candidate.strength
        if removal < self.removal_goal:
            return 1, removal // ALIKE, candidate.psnr_outside, -candidate.strength
        return REACHED, candidate.psnr_outside, removal, -candidate.strength

    def consider(
        self,
        trainer: Trainer,
        module: GANFinetuner,
        figures: Mapping[str, float],
        judged: Callable[..., Judged],
    ) -> None:
        """Try the present EMA state at some strengths; stop the run if patience is at its end.

        Args:
            trainer: of the run.
            module: the finetuner.
            figures: of the validation just done, at full strength.
            judged: judges a batch beside its finetuned images.
        """
        step = trainer.global_step
        if self._knows(step):
            return  # the discriminator is warmed up, and the generator has not moved
        start = time.perf_counter()
        tried = [_candidate(step, 1.0, figures)]
        reached = self.best is not None and self.rank(self.best)[0] == REACHED
        enough = _Bisection(tried[0], self.removal_goal, self.best if reached else None)
        network = copy.deepcopy(module.ema.module)
        for _ in range(self.probes):
            if (strength := enough.next()) is None:
                break
            network.load_state_dict(self._between(module, strength))
            found = self._measure(trainer, module, network, judged)
            tried.append(_candidate(step, strength, found))
            enough.add(tried[-1])
        self.candidates += tried
        winner = max(tried, key=self.rank)
        if self.best is None or self.rank(winner) > self.rank(self.best):
            self.best, self.waited = winner, 0
            self.weights = {
                name: tensor.cpu()
                for name, tensor in self._between(module, winner.strength).items()
            }
        else:
            self.waited += 1
        self.seconds += time.perf_counter() - start
        self._report(trainer, module, tried)
        if self.patience is not None and self.waited >= self.patience:
            if trainer.is_global_zero:
                log.info(
                    "iteration %d: no better result in %d validations; stopping", step, self.waited
                )
            trainer.should_stop = True

    def _knows(self, step: int) -> bool:
        return step == 0 or bool(self.candidates and self.candidates[-1].iteration == step)

    def _measure(
        self,
        trainer: Trainer,
        module: GANFinetuner,
        network: nn.Module,
        judged: Callable[..., Judged],
    ) -> dict[str, float]:
        """Metrics of the validation images with these weights; of all ranks, on every rank."""
        scores = FinetuningScores().to(module.device)
        for batch, finetuned in upscaled(trainer, module, network):
            for row in judged(batch, finetuned, brief=True).rows:
                scores.update(row)
        return {name: float(value) for name, value in scores.compute().items()}

    def _between(self, module: GANFinetuner, strength: float) -> Weights:
        """Original + strength · (EMA − original)."""
        state = module.ema.module.state_dict()
        return {
            name: self._original[name].to(tensor.device).lerp(tensor, strength)
            if tensor.is_floating_point()
            else tensor
            for name, tensor in state.items()
        }

    def _report(self, trainer: Trainer, module: GANFinetuner, tried: list[Candidate]) -> None:
        """A row of the curve for each candidate in ``metrics.csv``."""
        for candidate in tried:
            figures = {
                f"choice/{name}": value
                for name, value in asdict(candidate).items()
                if name != "iteration" and value is not None and not math.isnan(value)
            }
            for logger in trainer.loggers:
                logger.log_metrics(figures, step=module.batches_seen)

    def apply(self, trainer: Trainer, module: GANFinetuner) -> None:
        """Make the chosen weights the module's result, and say what they are."""
        if self.best is None:
            return
        network = copy.deepcopy(module.ema.module)
        network.load_state_dict(self.weights)
        module.set_result(network, asdict(self.best))
        if not trainer.is_global_zero:
            return
        best, reached = self.best, self.rank(self.best)[0] == REACHED
        rest = time.perf_counter() - self._began - self.seconds
        log.info(
            "result: iteration %d at strength %.3g: removes %.1f %%, adds in %.1f %% of the "
            "images, %.1f dB from GAN-SR outside%s; choosing took %.1f s, %.0f %% of all else",
            *(best.iteration, best.strength, 100 * best.removal, 100 * best.addition),
            best.psnr_outside,
            ""
            if reached
            else f"; NOTHING tried removed {self.removal_goal:.0%} without additions, this is the "
            "best of it",
            *(self.seconds, 100 * self.seconds / max(rest, 1e-9)),
        )
        if self.plot is not None:
            plot_candidates(self.plot, self.candidates, best, self.removal_goal)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                columns = list(asdict(best))
                rows = [list(asdict(candidate).values()) for candidate in self.candidates]
                logger.log_table("choice", columns, rows, step=module.batches_seen)

    def state_dict(self) -> dict[str, Any]:
        """What was tried, and the best weights; plain values and tensors."""
        return {
            "candidates": [asdict(candidate) for candidate in self.candidates],
            "best": None if self.best is None else asdict(self.best),
            "weights": self.weights,
            "waited": self.waited,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.candidates = [Candidate(**values) for values in state["candidates"]]
        self.best = None if state["best"] is None else Candidate(**state["best"])
        self.weights, self.waited = dict(state["weights"]), state["waited"]


def upscaled(
    trainer: Trainer, module: GANFinetuner, network: nn.Module
) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The batches of validation, uint8 on the module's device, each with a network's output."""
    upscaler, data = module.upscaler().renew(network), trainer.datamodule  # type: ignore[attr-defined]
    with torch.no_grad(), torch.autocast(module.device.type, enabled=False):
        for batch in data.val_dataloader():
            there = {
                name: value.to(module.device, non_blocking=True)
                if isinstance(value, Tensor)
                else value
                for name, value in batch.items()
            }
            yield there, quantize(upscaler(there["lr"].float() / 255).clamp(0, 1))


class _Bisection:
    """Strengths to try: the weakest that reaches the goal; or, where full strength adds artifacts
    and does not reach it, the strongest that adds none.

    Where an earlier state has reached the goal, the first strength tried is the one at which this
    state changes as little as that one did: if it does not reach the goal, no other can be better.
    The change grows with the strength, so PSNR falls by 20·log10 of it.
    """

    def __init__(self, full: Candidate, goal: float, best: Candidate | None = None) -> None:
        self.goal, self.low, self.high = goal, 0.0, 1.0
        self.by_removal = self._reaches(full)
        self.open = self.by_removal or (full.addition > 0 and best is None)
        self.worth: float | None = None
        if best is not None and full.psnr_outside < best.psnr_outside:
            self.worth = 10 ** ((full.psnr_outside - best.psnr_outside) / 20)

    def _reaches(self, candidate: Candidate) -> bool:
        return math.isnan(candidate.removal) or candidate.removal >= self.goal

    def next(self) -> float | None:
        if not self.open:
            return None
        return self.worth if self.worth is not None else (self.low + self.high) / 2

    def add(self, candidate: Candidate) -> None:
        too_much = self._reaches(candidate) if self.by_removal else candidate.addition > 0
        if self.worth is not None:
            self.open, self.worth = too_much, None
        if too_much:
            self.high = candidate.strength
        else:
            self.low = candidate.strength


def _candidate(iteration: int, strength: float, figures: Mapping[str, float]) -> Candidate:
    rates = (figures["removal_rate"], figures["pixel_removal_rate"])
    return Candidate(
        iteration,
        strength,
        math.nan if any(map(math.isnan, rates)) else min(rates),
        figures["addition_rate"],
        figures["psnr/outside"],
        figures.get("lpips/outside"),
    )


def _copy(network: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def plot_candidates(
    path: Path, candidates: list[Candidate], best: Candidate, removal_goal: float
) -> None:
    """Removal against fidelity and over the strength: a line an iteration, a point a strength."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    axes[0].set(xlabel="PSNR to GAN-SR outside the artifacts, dB", ylabel="removed, %")
    axes[1].set(xlabel="strength", xlim=(0, 1.05), ylim=(-3, 103))
    adding = [candidate for candidate in candidates if candidate.addition]
    for iteration in sorted({candidate.iteration for candidate in candidates}):
        line = sorted((c for c in candidates if c.iteration == iteration), key=lambda c: c.strength)
        for plane, places in zip(axes, _places(line), strict=True):
            plane.plot(*places, ".-", label=f"{iteration} iterations")
    result = f"result: iteration {best.iteration}, strength {best.strength:.3g}"
    ring = {"marker": "o", "s": 180, "facecolor": "none", "edgecolor": "k", "label": result}
    for plane, crossed, ringed in zip(axes, _places(adding), _places([best]), strict=True):
        if adding:
            plane.scatter(*crossed, marker="x", s=70, c="k", label="adds artifacts", zorder=3)
        plane.scatter(*ringed, **ring)
        plane.axhline(100 * removal_goal, ls=":", c="grey", label="goal")
        plane.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _places(candidates: list[Candidate]) -> list[tuple[list[float], list[float]]]:
    """Where they lie in the two planes."""
    removed = [100 * candidate.removal for candidate in candidates]
    fidelity = [candidate.psnr_outside for candidate in candidates]
    return [(fidelity, removed), ([candidate.strength for candidate in candidates], removed)]
