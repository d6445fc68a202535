"""The gradient of the validation loss with respect to connections in [0, 1], for gradient-based search.

DARTS: Differentiable Architecture Search (https://arxiv.org/abs/1806.09055), on Eq. 4 of Efficient Attention Network
(https://arxiv.org/abs/2011.14058), whose a_l may be any number in [0, 1]; see `ean_core.supernet.gates`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ean_core.networks import StagedNetwork
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.supernet.bn_calibration import preserve_batch_norm
from ean_core.supernet.gates import gated_features
from ean_core.supernet.path_metric import PathMetric
from ean_core.utils.distributed import take_from_main_process
from ean_core.utils.errors import EANError


@contextmanager
def preserve_mode(network: nn.Module) -> Iterator[None]:
    """Restore training or evaluation mode when the block ends."""
    was_training = network.training
    try:
        yield
    finally:
        network.train(was_training)


class ValidationGradient:
    """The `LossGradient` of a trained supernet; its weights do not change, and all processes get the same values.

    Args:
        network: the supernet; every call restores its mode, scheme and batch norms.
        batches: step -> batches, always the same for a step.
        metric: how the network is run, and its loss.
        batch_statistics: normalize by each batch's own statistics, for searches that score with calibrated batch norm.
    """

    def __init__(
        self,
        network: StagedNetwork | BackboneWrapper,
        batches: Callable[[int], Iterable[Mapping[str, Tensor]]],
        *,
        metric: PathMetric,
        batch_statistics: bool = False,
    ) -> None:
        self.network, self.batches, self.metric = network, batches, metric
        self.batch_statistics = batch_statistics

    def __call__(self, a: np.ndarray, *, step: int) -> tuple[float, np.ndarray]:
        """The mean loss of an image, and its gradient (m,) with respect to the connections (m,)."""
        parameter = next(self.network.parameters())
        connections = torch.tensor(a, dtype=parameter.dtype, device=parameter.device, requires_grad=True)
        total, images = parameter.new_zeros(len(a) + 1), 0  # the loss, then its gradient
        with preserve_batch_norm(self.network), preserve_mode(self.network):
            self.network.train(self.batch_statistics)
            for batch in self.batches(step):
                features = gated_features(self.network, connections, self.metric.images(batch))
                loss = self.metric.loss(self.metric.outputs(self.network, features, batch), batch)
                (gradient,) = torch.autograd.grad(loss, [connections])
                total += torch.cat([loss.detach()[None], gradient])
                images += len(batch["inputs"])
        total /= images
        take_from_main_process(total)  # rounding differs between devices
        values = total.double().cpu().numpy()
        if not np.isfinite(values).all():
            raise EANError("the supernet's loss or its gradient is not finite: train it with a lower learning rate")
        return float(values[0]), values[1:]
