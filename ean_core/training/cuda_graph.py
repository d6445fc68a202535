"""A training step in one CUDA graph: a deep thin network spends most of a step on the launching of its kernels.

A supernet's path changes from step to step, and a graph does not. So the graph goes through the attention of every
block, and a tensor of bits selects between what comes out and what went in (`Stage.selected`): the same values and the
same gradients as those of the path alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from ean_core.networks.stage import Stage
from ean_core.supernet.scorer import kept_batch_norm
from ean_core.utils.cuda_graph import capture

if TYPE_CHECKING:
    from ean_core.training.classifier import ImageClassifier

Losses = dict[str, Tensor]


class Capture(Protocol):
    """`ean_core.utils.cuda_graph.capture`, or what imitates it."""

    def __call__(self, work: Callable[[], Losses], *, before: Callable[[], None]) -> Callable[[], Losses]: ...


class GraphedStep:
    """Losses and gradients of a batch, as forward and backward passes of a model give them.

    Args:
        model: in training mode, on one device, in one process.
        inputs, labels: a batch, as all later ones will be; it changes nothing of the model.
        capture: makes the graph.

    Raises:
        CaptureFailed: if the step cannot be captured; the model is as before, without gradients.
    """

    def __init__(self, model: ImageClassifier, inputs: Tensor, labels: Tensor, *, capture: Capture = capture) -> None:
        self.model, self.inputs, self.labels = model, inputs.clone(), labels.clone()
        self.stages: list[Stage] = model.network.stages
        self.bits = torch.ones(sum(stage.depth for stage in self.stages), dtype=torch.bool, device=inputs.device)
        try:
            with kept_batch_norm(model.network):  # capturing begins with some steps that are not to leave traces
                self.replay = capture(self.forward_backward, before=self.clear)
            self.gradients = [(one, one.grad) for one in model.parameters()]
        finally:
            self.clear()

    def forward_backward(self) -> Losses:
        """What is captured."""
        parts = self.bits.split([stage.depth for stage in self.stages])
        try:
            for stage, bits in zip(self.stages, parts, strict=True):
                stage.selects = bits if self.model.changes_path else None
            losses = self.model(self.inputs, self.labels, mode="loss")
        finally:
            for stage in self.stages:
                stage.selects = None
        losses["loss"].backward()
        # Else what they were made from would stay, and with it the stream that gradients are added up on.
        return {name: value.detach() for name, value in losses.items()}

    def clear(self) -> None:
        """No gradients, so that a backward pass makes new ones."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def fits(self, inputs: Tensor) -> bool:
        """Whether a batch is as large as the captured one."""
        return inputs.shape == self.inputs.shape

    def __call__(self, inputs: Tensor, labels: Tensor) -> Losses:
        """The losses of a batch on the path that is set; the gradients are then in the parameters."""
        self.inputs.copy_(inputs)
        self.labels.copy_(labels)
        unused: set[int] = set()
        if self.model.changes_path:
            (path,) = self.model.paths
            self.model.network.set_scheme(path)
            bits = torch.tensor(path.bits, dtype=torch.bool)
            self.bits.copy_(bits.pin_memory() if self.bits.is_cuda else bits, non_blocking=True)
            unused = {id(one) for stage in self.stages for one in unconnected(stage)}
        losses = self.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = None if id(parameter) in unused else gradient
        return {name: value.clone() for name, value in losses.items()}  # the next replay writes over them


def unconnected(stage: Stage) -> list[nn.Parameter]:
    """Parameters that the stage's path leaves without gradient, and so without weight decay and momentum."""
    if isinstance(stage.attention, nn.ModuleList):
        pairs = zip(stage.attention, stage.bits, strict=True)
        return [one for module, bit in pairs if not bit for one in module.parameters()]
    return [] if stage.attention is None or any(stage.bits) else list(stage.attention.parameters())
