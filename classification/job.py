"""The start of a classification run: read the recipe's data once, and give the pipeline its job."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from classification.recipe import Recipe
from classification.task import ClassificationTask
from ean_core.data import load_data
from ean_core.pipeline.job import Job
from ean_core.training.device_defaults import Placement, describe, for_device
from ean_core.utils.distributed import run_on_main_process

PARTS = ("supernet", "search", "network", "comparison", "correlation")
"""What the claims on parts of a work directory call them."""


def start_job(
    recipe: Recipe,
    *,
    data_root: str | Path,
    directory: str | Path,
    fast: bool = False,
    given: Collection[str] = (),
    **how: Any,
) -> Job:
    """Read the data; the first process does it before the others, so that only one downloads.

    All images of a job are of one size, so cuDNN may try its kernels and keep the fastest; a recipe's `deterministic`
    switches that off. What the recipe leaves to the device is chosen here.

    Args:
        recipe: of the run.
        data_root: where the data sets are.
        directory: the work directory.
        fast: choose more of the training's settings by what is fast on the device.
        given: fields of the recipe that the user gave, which `fast` leaves alone.
        how: `launcher`, `resume` and `backends` of the `Job`.
    """
    torch.backends.cudnn.benchmark = True
    read = cache(partial(load_data, recipe.data.name, data_root, image_size=recipe.data.image_size))
    run_on_main_process(read)
    recipe = for_device(recipe, Placement.current(max(read().image_shape[1:])), fast=fast, user_set=given)
    return Job(ClassificationTask(recipe, read()), Path(directory), **how)


def describe_device(job: Job) -> str:
    """One line: how this device runs the training steps."""
    return describe(job.recipe, Placement.current(max(job.task.dataset().image_shape[1:])))
