"""A training step in one CUDA graph: a deep thin network spends most of a step on the launching of its kernels.

A supernet's path changes from step to step, and a graph does not. So the graph goes through the attention of every
block, and a tensor of boolean gates chooses between what comes out and what went in (`ean_core.supernet.gates`): the
same values and the same gradients as those of the path alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.scheme import Scheme
from ean_core.supernet.scorer import preserve_batch_norm
from ean_core.utils.cuda_graph import capture

Losses = dict[str, Tensor]


class Capture(Protocol):
    """`ean_core.utils.cuda_graph.capture`, or what imitates it."""

    def __call__(self, work: Callable[[], Losses], *, before: Callable[[], None]) -> Callable[[], Losses]: ...


class Model(Protocol):
    """A module whose step is captured: an `ImageClassifier`, or a `SupernetClassifier` whose path changes.

    Attributes:
        network: whose stages are gone through.
        changes_path: whether `paths` holds another path before every step.
        paths: one scheme.
    """

    network: StagedNetwork
    changes_path: bool
    paths: Sequence[Scheme]

    def __call__(self, inputs: Tensor, labels: Tensor, mode: str) -> Losses: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class GraphedStep:
    """Losses and gradients of a batch, as forward and backward passes of a model give them.

    Args:
        model: in training mode, on one device, in one process.
        inputs, labels: a batch, as all later ones will be; it changes nothing of the model.
        capture: makes the graph.

    Raises:
        CaptureFailed: if the step cannot be captured; the model is as before, without gradients.
    """

    def __init__(self, model: Model, inputs: Tensor, labels: Tensor, *, capture: Capture = capture) -> None:
        self.model, self.inputs, self.labels = model, inputs.clone(), labels.clone()
        self.stages: list[Stage] = model.network.stages
        self.gates: Tensor | None = None  # bool (m,), of the path, where that changes from step to step
        if model.changes_path:
            self.gates = torch.ones(sum(model.network.stages_blocks), dtype=torch.bool, device=inputs.device)
        try:
            with preserve_batch_norm(model.network):  # capturing begins with some steps that are not to leave traces
                self.replay = capture(self.forward_backward, before=self.clear)
            self.gradients = [(one, one.grad) for one in model.parameters()]
        finally:
            self.clear()

    def forward_backward(self) -> Losses:
        """What is captured."""
        losses = self.model(self.inputs, self.labels, mode="loss", gates=self.gates)
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
        if self.gates is not None:
            (path,) = self.model.paths
            self.model.network.set_scheme(path)
            bits = torch.tensor(path.bits, dtype=torch.bool)
            self.gates.copy_(bits.pin_memory() if self.gates.is_cuda else bits, non_blocking=True)
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
