"""The gradient of the validation loss by connections between 0 and 1, for searches that follow it.

DARTS: Differentiable Architecture Search (https://arxiv.org/abs/1806.09055), on Eq. 4 of Efficient Attention Network
(https://arxiv.org/abs/2011.14058), whose a_l may be any number in [0, 1]; see `ean_core.supernet.gates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.supernet.bn_calibration import kept_batch_norm
from ean_core.supernet.gates import gated_logits
from ean_core.utils.errors import EANError


@contextmanager
def _kept_mode(network: nn.Module) -> Iterator[None]:
    """Put training or evaluation mode back at the end of the block."""
    was_training = network.training
    try:
        yield
    finally:
        network.train(was_training)


class ValidationGradient:
    """The `LossGradient` of a trained supernet, whose weights stay as they are.

    Args:
        network: the supernet; its mode, scheme and batch norms are as before after every call.
        batches: step -> batches of `{"inputs": uint8 (B, C, H, W), "labels": (B,)}`, always the same for a step.
        normalize: uint8 images to the network's input.
        batch_statistics: normalize by each batch's own statistics, where schemes are scored with re-estimated ones.
        share: makes all processes hold the same numbers (rounding differs between devices); in place, on (m + 1,).
    """

    def __init__(
        self,
        network: StagedNetwork,
        batches: Callable[[int], Iterable[Mapping[str, Tensor]]],
        *,
        normalize: Callable[[Tensor], Tensor],
        batch_statistics: bool = False,
        share: Callable[[Tensor], None] = lambda values: None,
    ) -> None:
        self.network, self.batches, self.normalize = network, batches, normalize
        self.batch_statistics, self.share = batch_statistics, share

    def __call__(self, a: np.ndarray, *, step: int) -> tuple[float, np.ndarray]:
        """Mean cross-entropy in nats, and its gradient (m,) by the connections (m,)."""
        like = next(self.network.parameters())
        connections = torch.tensor(a, dtype=like.dtype, device=like.device, requires_grad=True)
        total, images = like.new_zeros(len(a) + 1), 0  # the loss, then its gradient
        with kept_batch_norm(self.network), _kept_mode(self.network):
            self.network.train(self.batch_statistics)
            for batch in self.batches(step):
                logits = gated_logits(self.network, connections, self.normalize(batch["inputs"]))
                loss = F.cross_entropy(logits, batch["labels"], reduction="sum")
                (slope,) = torch.autograd.grad(loss, [connections])
                total += torch.cat([loss.detach()[None], slope])
                images += len(batch["labels"])
        total /= images
        self.share(total)
        values = total.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise EANError("the supernet's loss or its gradient is not finite: train it with a lower learning rate")
        return float(values[0]), values[1:]
