"""Start a search of a segmentation config: check its data and weights, and give the pipeline its job."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ean_core.cli import backends_of, load_attention
from ean_core.networks.weights_file import weights_identity
from ean_core.pipeline.arguments import recipe_options, schemes_in
from ean_core.pipeline.job import Job
from ean_core.pipeline.search import scheme_of
from ean_core.utils.distributed import is_main_process, start_processes
from ean_core.utils.errors import EANError
from ean_core.utils.process_agreement import check_same_files
from ean_core.utils.screen import say
from segmentation.config import build_model, read_config
from segmentation.config_checks import check_config
from segmentation.data.search_split import SearchSplit
from segmentation.recipe import Recipe, backbone_recipe
from segmentation.starting_weights import load_backbone, normalize_as, starting_weights
from segmentation.task import SegmentationTask
from segmentation.third_party import register_all_modules

FLAGS = ("model.attention", "seed", "seeds")
"""Fields that the commands' own flags replace, which need not be in a config."""


def job_from_arguments(arguments: argparse.Namespace, flags: Mapping[str, Any]) -> Job:
    """Read the config, join the other processes, and check the data.

    Args:
        arguments: of `ean_core.pipeline.arguments.add_pipeline_arguments`.
        flags: recipe fields that other flags replace; those that are None were not given.

    Raises:
        EANError: for a config that cannot be searched, or data that cannot be read.
    """
    options, backends = recipe_options(arguments, flags), backends_of(arguments.log)
    replaced = {name: options.pop(name) for name in FLAGS if name in options}
    launcher = start_processes(arguments.launcher)
    register_all_modules(init_default_scope=True)
    config = read_config(arguments.config, options, data_root=arguments.data_root or "data", amp=arguments.fast)
    if attention := replaced.pop("model.attention", None):
        config.model.backbone.attention = load_attention(attention)
    task, lines = start_task(config, replaced, schemes=schemes_in(arguments))
    directory = Path(arguments.work_dir or Path("work_dirs") / task.recipe.name)
    if arguments.resume:
        check_same_files(directory)
    job = Job(task, directory, launcher=launcher, resume=arguments.resume, backends=backends)
    if is_main_process():
        say(f"{task.recipe.name}: {job.describe()}", *lines)
    return job


def start_task(
    config: Config, flags: Mapping[str, Any], *, schemes: Sequence[str] = ()
) -> tuple[SegmentationTask, Sequence[str]]:
    """The task of a config: everything read and checked.

    Args:
        config: as `read_config` returns it.
        flags: top-level fields of the recipe that replace the config's.
        schemes: that are to be trained, checked before any image is read.

    Returns:
        the task, and lines to print.

    Raises:
        EANError: as `job_from_arguments`.
    """
    model = backbone_recipe(config)
    if config.model.get("test_cfg", {}).get("mode", "whole") != "whole":
        raise EANError(
            f"{config.filename} tests in sliding windows, and a search scores whole images: give test_cfg mode='whole'"
        )
    config.model.backbone.update(attention=model.attention, scheme=None)
    config.model.backbone.pop("sharing", None)
    Recipe.of(config, flags)  # a mistake in it must show before images are read
    segmentor = build_model(config)
    for scheme in schemes:
        scheme_of(scheme, segmentor.backbone.network.stages_blocks, model.attention)
    weights = starting_weights(config, segmentor.backbone)
    notes = normalize_as(config, weights)
    recipe = Recipe.of(config, flags)  # of the config as it is trained with
    split, warnings = SearchSplit.of(config, recipe.data)
    check_config(config, segmentor, split.classes)
    loaded = load_backbone(segmentor.backbone, weights)
    identity = None if model.pretrained is None else weights_identity(model.pretrained, arch=model.arch)
    task = SegmentationTask(recipe, config, split, segmentor.backbone.network.stages_blocks, identity)
    return task, [f"backbone: {loaded}", *notes, *warnings]
