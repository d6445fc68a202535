"""The start of a classification run: read the recipe's data once, and give the pipeline its job."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from classification.recipe import Recipe
from classification.task import ClassificationTask
from ean_core.data import load_data
from ean_core.data.image_data import ImageData
from ean_core.networks.weights_file import normalization_of
from ean_core.pipeline.job import Job
from ean_core.pipeline.recipe import ModelRecipe
from ean_core.training.device_defaults import Placement, describe, for_device
from ean_core.utils.distributed import run_on_main_process


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
    data = normalized_as_pretrained(read(), recipe.model)
    recipe = for_device(recipe, Placement.current(max(data.image_shape[1:])), fast=fast, user_set=given)
    return Job(ClassificationTask(recipe, data), Path(directory), **how)


def normalized_as_pretrained(data: ImageData, model: ModelRecipe) -> ImageData:
    """The images, normalized as those that the recipe's pretrained weights were trained on, if that is known.

    Raises:
        EANError: if the weights cannot be read.
    """
    theirs = None if model.pretrained is None else normalization_of(model.pretrained, arch=model.arch)
    if theirs is None or theirs == (data.mean, data.std) or len(theirs[0]) != data.image_shape[0]:
        return data
    mean, std = (", ".join(f"{value:.3f}" for value in values) for values in theirs)
    remark = f"images are normalized as the pretrained weights want them: mean {mean}, standard deviation {std}"
    return dataclasses.replace(data, mean=theirs[0], std=theirs[1], remarks=(*data.remarks, remark))


def describe_device(job: Job) -> str:
    """One line: how this device runs the training steps."""
    return describe(job.recipe, Placement.current(max(job.task.dataset().image_shape[1:])))
