"""A trained network as a graph that takes batches and images of any size, or of as many sizes as it allows.

The graph is that of the deployable network: pruned, and with batch norm folded (`ean_core/deploy/fold.py`).
"""

from __future__ import annotations

import copy
import logging
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.deploy.fold import fold_batch_norm
from ean_core.inference.dynamic_padding import make_padding_dynamic
from ean_core.inference.dynamic_pool import make_pools_dynamic
from ean_core.inference.loaded_model import LoadedModel
from ean_core.utils.errors import EANError, first_line

NO_SIZE = 128  # side in pixels of the test images for a network that takes images of any size
Run = Callable[[Tensor], Tensor]  # images (B, C, H, W) -> the network's output


@dataclass(frozen=True)
class Sizes:
    """The image sizes that an exported network takes.

    Attributes:
        side: of the images that it was traced with, in pixels.
        any_size: whether it takes other sizes too.
        least: smallest side in pixels.
    """

    side: int
    any_size: bool = True
    least: int = 1

    def __str__(self) -> str:
        if not self.any_size:
            return f"any batch, images of {self.side}x{self.side} only"
        return "any batch, any image size" + (f" from {self.least}x{self.least} on" if self.least > 1 else "")


def deployable(model: LoadedModel) -> nn.Module:
    """A pruned copy with batch norm folded, on the CPU and in eval mode."""
    model.require_stages("this export")
    return fold_batch_norm(on_cpu(model))


def on_cpu(model: LoadedModel) -> nn.Module:
    """A copy of the network on the CPU and in eval mode."""
    return copy.deepcopy(model.network).cpu().eval()


def trace(model: LoadedModel, *, any_size: bool) -> torch.export.ExportedProgram:
    """The deployable network as a graph for any batch, and for any image size or for the one it was trained on."""
    side = side_of(model)
    example = torch.zeros(2, model.prepare.channels, side, side)  # a batch of one would be taken for a constant
    free = torch.export.Dim.DYNAMIC
    network = deployable(model)
    if any_size:
        network = make_padding_dynamic(make_pools_dynamic(network))
    network = Renamed(network)
    with quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes={"images": {0: free, 2: free, 3: free} if any_size else {0: free}}
        )


class Renamed(nn.Module):
    """A network whose argument is called `images`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> the network's output."""
        return self.network(images)


def widest(model: LoadedModel, convert: Callable[[torch.export.ExportedProgram], Any]) -> tuple[Any, bool]:
    """The conversion for any image size or, where the network does not allow it, for the one it was trained on.

    Returns:
        the result of `convert`, and whether it takes any image size.

    Raises:
        EANError: if neither works.
    """
    try:
        return convert(trace(model, any_size=True)), True
    except Exception:  # the tracer and the converter raise many kinds; a second failure is reported
        pass
    try:
        return convert(trace(model, any_size=False)), False
    except EANError:  # of the network itself, which says it better
        raise
    except Exception as error:
        raise EANError(
            f"{model.path} cannot be exported ({type(error).__name__}: {first_line(error)}): "
            "torch.export does not support its attention or its layout"
        ) from error


def sizes_of(run: Run, model: LoadedModel, *, any_size: bool) -> Sizes:
    """The image sizes that an exported network takes; the smallest side is found by trial."""
    side = side_of(model)
    if not any_size:
        return Sizes(side, any_size=False)
    return Sizes(side, least=1 + bisect_left(range(1, side), True, key=lambda side: accepts(run, model, side)))


def accepts(run: Run, model: LoadedModel, side: int) -> bool:
    """Whether an exported network accepts a square image of this side."""
    try:
        run(torch.zeros(1, model.prepare.channels, side, side))
    except Exception:  # torch's guards raise AssertionError, ONNX Runtime kinds of its own
        return False
    return True


def side_of(model: LoadedModel) -> int:
    """Side in pixels of the images that a network is traced and first checked with."""
    return model.prepare.size or NO_SIZE


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the tracer's and the converter's messages on their own internals."""
    names = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
