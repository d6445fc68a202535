"""A training step as one CUDA graph: a deep, thin network spends most of a step launching kernels.

A supernet's path changes at every step, but a graph is fixed. So the graph runs the attention of every block, and a
tensor of boolean gates selects between its output and its input (`ean_core.supernet.gates`), which gives the values and
gradients of the path alone. An attention with a batch norm of its own cannot be captured so: its running statistics
would count the blocks that the path leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.scheme import Scheme
from ean_core.supernet.bn_calibration import batch_norms, preserve_batch_norm
from ean_core.utils.cuda_graph import CaptureFailed, capture

Losses = dict[str, Tensor]


class Capture(Protocol):
    """The signature of `ean_core.utils.cuda_graph.capture`, which tests replace."""

    def __call__(self, work: Callable[[], Losses], *, before: Callable[[], None]) -> Callable[[], Losses]: ...


class Model(Protocol):
    """A module whose step is captured: an `ImageClassifier`, or a `SupernetClassifier` whose path changes.

    Attributes:
        network: whose stages the step runs.
        changes_path: whether `paths` changes before every step.
        paths: the path of the step, one scheme; empty where it does not change.
    """

    network: StagedNetwork
    changes_path: bool
    paths: Sequence[Scheme]

    def __call__(self, inputs: Tensor, labels: Tensor, mode: str, *, gates: Tensor | None) -> Losses: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


class GraphedStep:
    """Computes losses and gradients of a batch by replaying a captured forward and backward pass.

    Args:
        model: in training mode, on a single device, in a single process.
        inputs, labels: a batch of the size of all later ones; it does not change the model.
        capture: captures the graph.

    Raises:
        CaptureFailed: if the step cannot be captured; the model is unchanged, without gradients.
    """

    def __init__(self, model: Model, inputs: Tensor, labels: Tensor, *, capture: Capture = capture) -> None:
        self.model, self.inputs, self.labels = model, inputs.clone(), labels.clone()
        self.stages: list[Stage] = model.network.stages
        self.gates: Tensor | None = None  # bool (m,), the path, if it changes between steps
        if model.changes_path:
            if any(batch_norms(stage.attention) for stage in self.stages if stage.attention is not None):
                raise CaptureFailed("a CUDA graph would update the attention's batch norms at unconnected blocks too")
            self.gates = torch.ones(sum(model.network.stages_blocks), dtype=torch.bool, device=inputs.device)
        try:
            with preserve_batch_norm(model.network):  # the capture's warm-up steps must leave no trace
                self.replay = capture(self.forward_backward, before=self.clear)
            self.gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
        finally:
            self.clear()

    def forward_backward(self) -> Losses:
        """The captured work: losses and their backward pass."""
        losses = self.model(self.inputs, self.labels, mode="loss", gates=self.gates)
        losses["loss"].backward()
        # Otherwise the autograd graph, and the stream on which gradients are accumulated, would be kept alive.
        return {name: value.detach() for name, value in losses.items()}

    def clear(self) -> None:
        """Set all gradients to None, so that the backward pass allocates new ones."""
        for parameter in self.model.parameters():
            parameter.grad = None

    def fits(self, inputs: Tensor) -> bool:
        """Whether a batch has the captured shape."""
        return inputs.shape == self.inputs.shape

    def __call__(self, inputs: Tensor, labels: Tensor) -> Losses:
        """Compute the losses of a batch on the model's path, and set the parameters' gradients."""
        self.inputs.copy_(inputs)
        self.labels.copy_(labels)
        unused: set[int] = set()
        if self.gates is not None:
            (path,) = self.model.paths
            self.model.network.set_scheme(path)
            bits = torch.tensor(path.bits, dtype=torch.bool)
            self.gates.copy_(bits.pin_memory() if self.gates.is_cuda else bits, non_blocking=True)
            unused = {id(parameter) for stage in self.stages for parameter in unconnected_parameters(stage)}
        losses = self.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = None if id(parameter) in unused else gradient
        return {name: value.clone() for name, value in losses.items()}  # the next replay overwrites them


def unconnected_parameters(stage: Stage) -> list[nn.Parameter]:
    """Attention parameters that the path does not use, which get no gradient, and so no weight decay or momentum."""
    if isinstance(stage.attention, nn.ModuleList):
        pairs = zip(stage.attention, stage.bits, strict=True)
        return [parameter for module, bit in pairs if not bit for parameter in module.parameters()]
    return [] if stage.attention is None or any(stage.bits) else list(stage.attention.parameters())
