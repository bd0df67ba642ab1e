"""Generators of all the other architectures that spandrel knows (an optional extra)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from desra.checkpoints import Checkpoint, NamedState, read_checkpoint
from desra.errors import InputError
from models.generators.loading import SourceLayout, sample_of_keys, wrapped_parts
from models.generators.shapes import crop, pad_to_multiple
from models.generators.zoo import resolve_weights

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


class SpandrelGenerator(nn.Module):
    """A network built by spandrel, padded to the sizes that it takes.

    Args:
        descriptor: what spandrel says of the network.

    Attributes:
        network: the network itself, with the state that its file had or spandrel's form of it.
        scale: output pixels per input pixel.
        multiple: sides that are multiples of this need no padding.
    """

    def __init__(self, descriptor: ImageModelDescriptor) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self.architecture = type(descriptor.model).__name__
        self.scale = descriptor.scale
        needs = descriptor.size_requirements
        self.multiple = max(needs.multiple_of, 1)
        self.minimum = needs.minimum
        self.square = needs.square
        self.batch_norm = any(isinstance(part, nn.BatchNorm2d) for part in self.network.modules())

    def forward(self, lr: Tensor) -> Tensor:
        """``(B, 3, H, W)`` in [0, 1] to ``(B, 3, H·scale, W·scale)``.

        Raises:
            InputError: trained with one image at a time, where it normalises over the batch.
        """
        if self.training and len(lr) == 1 and self.batch_norm:
            raise InputError(
                f"{self.architecture} normalises over the batch: give data.batch_size=2 or more"
            )
        return crop(self.network(self._padded(lr)), lr, self.scale)

    def _padded(self, image: Tensor) -> Tensor:
        image = pad_to_multiple(image, self.multiple)
        height, width = image.shape[-2:]
        longest = max(height, width) if self.square else 0
        down = max(self.minimum, longest) - height
        right = max(self.minimum, longest) - width
        if down <= 0 and right <= 0:
            return image
        # Further than a reflection reaches, and cut away again.
        return F.pad(image, (0, max(right, 0), 0, max(down, 0)), mode="replicate")


def load_spandrel(weights: str | Path, *, key: str | None = None) -> nn.Module:
    """The generator that a file of weights holds, of any architecture known to spandrel.

    The file is read as `models.generators.load_generator` does, so nothing in it is run.

    Args:
        weights: a file, or a name of `models.generators.zoo`.
        key: which of a file's states; None for the most wanted one.

    Returns:
        a `SpandrelGenerator` in evaluation mode, with ``.scale``, ``.multiple`` and
        ``.source_layout``; its ``.network`` can be finetuned.

    Raises:
        InputError: spandrel is not installed, no such file or name, or a network that spandrel does
            not know or that is not for super-resolution of RGB images.
    """
    if find_spec("spandrel") is None:
        raise InputError(
            "generator=spandrel needs the package spandrel: pip install 'desra[spandrel]'"
        )
    return from_checkpoint(read_checkpoint(resolve_weights(weights)), key)


def from_checkpoint(checkpoint: Checkpoint, key: str | None = None) -> nn.Module:
    """As `load_spandrel`, of what a file of weights holds."""
    import spandrel

    path, states = checkpoint.path, checkpoint.states(key)
    for state in (*states, *wrapped_parts(states, alone=True)):
        try:
            descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(_plain(state))
        except spandrel.UnsupportedModelError:
            continue
        except (RuntimeError, KeyError, ValueError, AssertionError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{path}: an incomplete or altered network ({reason})") from error
        return _generator(path, state, descriptor)
    raise InputError(
        f"{path}: not a network that spandrel {spandrel.__version__} knows; its keys are "
        f"{sample_of_keys(states)}"
    )


def _plain(state: NamedState) -> dict[str, Tensor]:
    # Checkpoints of finetuning have the adapter's own name before each key. Tensors are copied,
    # since spandrel may take them over, and those here are the file.
    own = all(key.startswith("network.") for key in state.tensors)
    return {
        key.removeprefix("network.") if own else key: tensor.clone()
        for key, tensor in state.tensors.items()
    }


def _generator(path: Path, state: NamedState, descriptor: object) -> SpandrelGenerator:
    import spandrel

    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise InputError(f"{path}: {type(descriptor).__name__}, not a network from image to image")
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        raise InputError(
            f"{path}: {descriptor.architecture.name} from {descriptor.input_channels} to "
            f"{descriptor.output_channels} channels; RGB images are needed"
        )
    generator = SpandrelGenerator(descriptor)
    layout = SourceLayout(path.name, state.container if state.alone else "params")
    generator.source_layout = layout  # type: ignore[assignment]
    generator.network.source_layout = layout  # type: ignore[assignment]
    return generator.eval()
