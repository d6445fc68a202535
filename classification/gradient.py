"""What DARTS needs of a run: the gradient of the validation loss on the trained supernet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from classification.job import Job
from classification.supernet import both_sections
from ean_core.networks import StagedNetwork
from ean_core.search import GradientMethod, SearchMethod
from ean_core.supernet.relaxed import ValidationGradient

BATCH = 128
"""Images per backward pass at most: activations are kept for it, which scoring does not need."""


def connect_gradient(method: SearchMethod, job: Job, network: StagedNetwork, *, seed: int) -> None:
    """Give a method that wants it the gradient on the search split's validation images; others stay as they are.

    In float32 whatever the recipe's precision: a connection's slope is a sum over millions of products. Batch norm uses
    each batch's own statistics where the recipe re-estimates them for scoring.

    Args:
        method: fresh; it says how many images a gradient is taken on, at most all there are.
        job: for the images.
        network: the supernet, on its device.
        seed: with the step's number, of the images.
    """
    if not isinstance(method, GradientMethod):
        return
    settings, search = both_sections(job)
    _, val = job.split()
    count = min(method.images, len(val))

    def batches(step: int) -> Iterable[Mapping[str, Tensor]]:
        chosen = np.random.default_rng([seed, step]).choice(val.numpy(), count, replace=False)
        return job.eval_loader(job.data.train, torch.from_numpy(chosen), batch_size=min(BATCH, count), shared=False)

    method.gradient = ValidationGradient(
        network,
        batches,
        normalise=job.normalise(channels_last=settings.channels_last),
        batch_statistics=search.bn_images > 0,
        share=lambda values: dist.broadcast(values, src=0) if dist.is_initialized() else None,
    )
