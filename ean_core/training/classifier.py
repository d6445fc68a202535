"""MMEngine models: an image classifier, and a supernet whose path changes at every step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.scheme import Scheme
from ean_core.supernet.gates import gated_logits
from ean_core.supernet.paths import forget_path_in_state
from ean_core.training.graphed_step import GraphedStep
from ean_core.utils.cuda_graph import CaptureFailed
from ean_core.utils.errors import EANError
from ean_core.utils.screen import say

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def autocast_for(device: torch.device | str, precision: str) -> AbstractContextManager[object]:
    """The autocast context for a precision.

    bfloat16 has float32's range, so it needs no loss scaling, and it works on CPUs and GPUs.
    """
    if precision not in PRECISIONS:
        raise EANError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    dtype = PRECISIONS[precision]
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=dtype is not None)


class ImageClassifier(BaseModel):
    """A network with its normalization and loss.

    Args:
        network: images to logits.
        normalize: uint8 images to the network's input.
        label_smoothing: of the cross-entropy.
        precision: "float32" or "bfloat16".
        cuda_graph: capture the step in a CUDA graph (`ean_core.training.graphed_step`); only used on a single GPU. If
            the capture fails, a warning is printed and training continues without it.
    """

    changes_path = False
    paths: Sequence[Scheme] = ()

    def __init__(
        self,
        network: StagedNetwork,
        normalize: nn.Module,
        *,
        label_smoothing: float = 0.0,
        precision: str = "float32",
        cuda_graph: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.normalize = normalize
        self.label_smoothing = label_smoothing
        self.precision = precision
        self.cuda_graph = cuda_graph
        self.graphed: GraphedStep | None = None

    def forward(
        self, inputs: Tensor, labels: Tensor, mode: str = "tensor", *, gates: Tensor | None = None
    ) -> dict[str, Tensor] | list | Tensor:
        """uint8 (B, C, H, W) and labels (B,) to losses, [{"logits", "labels"}] or logits (B, K), by MMEngine's mode.

        For losses, boolean `gates` (m,) may replace the network's scheme.
        """
        with autocast_for(inputs.device, self.precision):
            images = self.normalize(inputs)
            if mode == "loss":
                return self.losses(images, labels, gates=gates)
            logits = self.network(images).float()
        return [{"logits": logits, "labels": labels}] if mode == "predict" else logits

    def losses(self, images: Tensor, labels: Tensor, *, gates: Tensor | None = None) -> dict[str, Tensor]:
        """Cross-entropy, and the batch's accuracy in percent for the log."""
        logits = (self.network(images) if gates is None else gated_logits(self.network, gates, images)).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "top1": 100.0 * (logits.detach().argmax(dim=1) == labels).float().mean()}

    def train_step(self, data: dict[str, Tensor], optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """MMEngine's training step, replayed from a CUDA graph if possible; not called with several processes."""
        inputs, labels = data["inputs"], data["labels"]
        if not (self.cuda_graph and inputs.is_cuda):
            return super().train_step(data, optim_wrapper)
        if self.graphed is None:
            self.graphed = self.captured_step(inputs, labels)
        if self.graphed is None or not self.graphed.fits(inputs):
            return super().train_step(data, optim_wrapper)
        losses = self.graphed(inputs, labels)
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        return losses

    def captured_step(self, inputs: Tensor, labels: Tensor) -> GraphedStep | None:
        """Capture the step in a CUDA graph; None if that fails, in which case it is not tried again."""
        try:
            return GraphedStep(self, inputs, labels)
        except CaptureFailed as reason:
            self.cuda_graph = False
            say(f"warning: {reason}; training continues without it")
            return None


class SupernetClassifier(ImageClassifier):
    """A supernet: the loss is the mean over the step's paths (one in the paper, several under the sandwich rule).

    `DrawPaths` sets `paths` before every step.
    """

    changes_path = True

    def __init__(self, network: StagedNetwork, normalize: nn.Module, **options: Any) -> None:
        super().__init__(network, normalize, **options)
        forget_path_in_state(self)

    def losses(self, images: Tensor, labels: Tensor, *, gates: Tensor | None = None) -> dict[str, Tensor]:
        """`ImageClassifier.losses` averaged over `paths`, or of the path given by `gates`."""
        if gates is not None:
            return super().losses(images, labels, gates=gates)
        each = []
        for path in self.paths:
            self.network.set_scheme(path)
            each.append(super().losses(images, labels))
        return {name: torch.stack([losses[name] for losses in each]).mean() for name in each[0]}
