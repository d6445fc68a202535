"""The supernet with connections between 0 and 1, for searches that follow a gradient.

DARTS: Differentiable Architecture Search (https://arxiv.org/abs/1806.09055), on Eq. 4 of Efficient Attention Network
(https://arxiv.org/abs/2011.14058), whose a_l may be any number in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ean_core.attention.base import State
from ean_core.networks import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.supernet.bn_calibration import kept_batch_norm
from ean_core.utils.errors import EANError


@contextmanager
def relaxed(network: StagedNetwork, a: Tensor) -> Iterator[None]:
    """In the block, the network's forward uses the connections `a` (m,) in place of its scheme.

    Where all of `a` are 0 or 1, the outputs are those of the scheme with these bits.

    Raises:
        EANError: for a wrong number of connections, or a network without attention at some block.
    """
    if a.shape != (sum(network.stages_blocks),):
        raise EANError(f"the network has {sum(network.stages_blocks)} connections, got a of shape {tuple(a.shape)}")
    for stage in network.stages:
        stage.check_bits((1,) * stage.depth)
    try:
        for stage, part in zip(network.stages, a.split(network.stages_blocks), strict=True):
            stage.forward = partial(relaxed_stage, stage, part)  # an instance's attribute comes before its class's
        yield
    finally:
        for stage in network.stages:
            stage.__dict__.pop("forward", None)


def relaxed_stage(stage: Stage, a: Tensor, x: Tensor) -> Tensor:
    """x_{l+1} = ReLU(shortcut + (a_l M(f) + (1 - a_l)) f) for every block, a (depth,) in [0, 1] (Eq. 4).

    (B, C_in, H, W) -> (B, C_out, H / stride, W / stride). A recurrent attention's state moves by the share a_l.
    """
    state: State = None
    shared = not isinstance(stage.attention, nn.ModuleList)
    for index, block in enumerate(stage.blocks):
        residual, shortcut = block(x)
        recalibrated, moved = stage.attention_of(index)(residual, state if shared else None)
        state = _between(state, moved, a[index])
        x = (shortcut + a[index] * recalibrated + (1 - a[index]) * residual).relu()
    return x


def _between(old: State, new: State, share: Tensor) -> State:
    """(1 - share) * old + share * new; an empty state is all zeros."""
    if new is None:
        return None
    return tuple(share * after + (1 - share) * before for before, after in zip(old or (0.0, 0.0), new, strict=True))


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
        normalise: uint8 images to the network's input.
        batch_statistics: normalise by each batch's own statistics, where schemes are scored with re-estimated ones.
        share: makes all processes hold the same numbers (rounding differs between devices); in place, on (m + 1,).
    """

    def __init__(
        self,
        network: StagedNetwork,
        batches: Callable[[int], Iterable[Mapping[str, Tensor]]],
        *,
        normalise: Callable[[Tensor], Tensor],
        batch_statistics: bool = False,
        share: Callable[[Tensor], None] = lambda values: None,
    ) -> None:
        self.network, self.batches, self.normalise = network, batches, normalise
        self.batch_statistics, self.share = batch_statistics, share

    def __call__(self, a: np.ndarray, *, step: int) -> tuple[float, np.ndarray]:
        """Mean cross-entropy in nats, and its gradient (m,) by the connections (m,)."""
        like = next(self.network.parameters())
        connections = torch.tensor(a, dtype=like.dtype, device=like.device, requires_grad=True)
        total, images = like.new_zeros(len(a) + 1), 0  # the loss, then its gradient
        with kept_batch_norm(self.network), _kept_mode(self.network), relaxed(self.network, connections):
            self.network.train(self.batch_statistics)
            for batch in self.batches(step):
                logits = self.network(self.normalise(batch["inputs"]))
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
