"""Read mmsegmentation configs, and adapt them to the command line and the device."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, LOOPS, PARAM_SCHEDULERS
from mmseg.registry import DATASETS, MODELS

import segmentation.data.transforms  # noqa: F401 (registers how all configs' images and masks are read)
from ean_core.utils.config_path import find_config_file
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError, first_line
from segmentation.config_numbers import check_numbers

MISTAKES = (TypeError, KeyError, ValueError, AssertionError, AttributeError, RuntimeError)
"""Exceptions that MMEngine, its registries and torch raise for an unknown field or a wrong type."""


def read_config(
    path: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    data_root: str = "data",
    weights: str | None = None,
    amp: bool = False,
) -> Config:
    """Read a config, and apply the command's options and the device's constraints.

    Args:
        path: an mmsegmentation config file.
        options: values by dotted name; unknown names are refused.
        data_root: replaces the leading `data` of the data sets' folders.
        weights: initial weights of the backbone.
        amp: train with mixed precision.

    Raises:
        EANError: if it is missing, not Python or not a segmentation config, or an option is unknown.
    """
    path = find_config_file(path, folders=["segmentation/configs"])
    if path.suffix != ".py":  # mmsegmentation configs call what they name, whatever the file format
        raise EANError(f"{path} is not a .py file, as segmentation configs must be: see segmentation/configs/")
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is code and can fail in any way
        raise EANError(f"{path} cannot be read as a config ({type(error).__name__}: {first_line(error)})") from None
    missing = [key for key in ("model", "train_dataloader", "val_dataloader", "train_cfg") if key not in config]
    if missing:
        raise EANError(f"{path} has no {missing[0]}: expected a segmentation config, with mmsegmentation's fields")
    for name in options or {}:
        check_option(config, name)
    config.merge_from_dict(dict(options or {}))
    check_numbers(config)
    for dataset in dataset_configs(config):
        root = Path(dataset.data_root)
        if root.parts[:1] == ("data",):
            dataset.data_root = str(Path(data_root, *root.parts[1:]))
    if weights is not None:
        config.model.backbone.init_cfg = {"type": "Pretrained", "checkpoint": weights}
    if amp:
        wrapper = {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}
        config.optim_wrapper.update(wrapper if torch.cuda.is_available() else {"type": "BFloat16OptimWrapper"})
    fit_to_device(config)
    return config


def check_option(config: Config, name: str) -> None:
    """Refuse an option whose parent or first name the config lacks: it is probably a typo."""
    first, *rest = name.split(".")
    node: Any = config._cfg_dict
    for key in (first, *rest[:-1]) if rest else (first,):
        if isinstance(node, list | tuple) and key.isdigit() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, Mapping) and key in node:
            node = node[key]
        else:
            available = ", ".join(node) if isinstance(node, Mapping) else f"{len(node)} entries"
            raise EANError(f"--cfg-options {name}: the config has no {key!r} there, only {available}")


def dataset_configs(config: Config) -> Iterator[Any]:
    """Yield the config of each data set, including nested ones."""
    for part in ("train", "val", "test"):
        if f"{part}_dataloader" in config:
            outer = config[f"{part}_dataloader"].dataset
            yield from (dataset for dataset in outer.get("datasets", [outer]) if "data_root" in dataset)


def fit_to_device(config: Config) -> None:
    """Adjust the settings in which MMEngine assumes a GPU, where there is none."""
    if torch.cuda.is_available():
        return
    config.merge_from_dict({"env_cfg": {"dist_cfg": {"backend": "gloo"}, "cudnn_benchmark": False}})
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None, "broadcast_buffers": False}
    config.model_wrapper_cfg = {**wrapper, **config.get("model_wrapper_cfg", {})}
    if rank_and_world()[1] > 1:  # torch's synchronized batch norm runs on GPUs only
        config.model = without_sync_batch_norm(config.model.to_dict())


def without_sync_batch_norm(value: Any) -> Any:
    """Replace SyncBN by BN everywhere in a config."""
    if isinstance(value, dict):
        return {key: without_sync_batch_norm(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(without_sync_batch_norm(item) for item in value)
    return "BN" if value == "SyncBN" else value


def build_datasets(config: Config) -> tuple[Any, Any]:
    """Build the training and validation data sets, which checks their folders and lists.

    The classes are called directly, since the registry's `build` prefixes error messages.
    """
    return tuple(build_dataset(config[f"{part}_dataloader"].dataset) for part in ("train", "val"))


def build_dataset(config: Mapping[str, Any]) -> Any:
    """Build one data set from its config."""
    arguments = dict(config)
    name = arguments.pop("type")
    cls = DATASETS.get(name)
    if cls is None:
        raise EANError(f"unknown data set {name!r}: add the module that registers it to custom_imports")
    try:
        return cls(**arguments)
    except (TypeError, KeyError) as error:  # an unknown argument or transform
        raise EANError(f"the data set {name} cannot be built ({first_line(error)}): check its fields") from None


def build_model(config: Config) -> Any:
    """Build the segmentor of a config.

    Raises:
        EANError: if it cannot be built.
    """
    try:
        return MODELS.build(config.model)
    except (EANError, *MISTAKES) as error:
        raise build_error("model", error) from None


def check_fields(config: Config, model: Any) -> None:
    """Build the optimizer, schedules and hooks, and check the loop's arguments, before MMEngine does so in training.

    Raises:
        EANError: if one of them cannot be built.
    """
    part = "optim_wrapper"
    try:
        with errors_only():  # with paramwise_cfg, MMEngine logs three lines per parameter
            wrapper = build_optim_wrapper(model, deepcopy(config.optim_wrapper))
        part = "param_scheduler"
        for schedule in config.get("param_scheduler") or ():
            PARAM_SCHEDULERS.build(dict(schedule), default_args={"optimizer": wrapper})
        part = "hooks"
        for hook in (*config.get("default_hooks", {}).values(), *config.get("custom_hooks", ())):
            if hook is not None:
                HOOKS.build(dict(hook))
        part = "train_cfg"
        loop = {name: value for name, value in config.train_cfg.items() if name != "type"}
        signature(LOOPS.get(config.train_cfg.type)).bind(runner=None, dataloader=None, **loop)
    except (EANError, *MISTAKES) as error:
        raise build_error(part, error) from None


@contextmanager
def errors_only() -> Iterator[None]:
    """Let MMEngine's current logger pass only errors inside the block."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def build_error(what: str, error: Exception) -> EANError:
    """An `EANError` for a part that cannot be built, without the prefixes that MMEngine's registry adds."""
    message = re.sub(r"^(class `\w+` in [\w/.]+: )+", "", str(error))
    if isinstance(error, EANError):
        return EANError(message)
    reason = first_line(Exception(message))
    return EANError(f"the config's {what} cannot be built ({reason}): check its fields, and --cfg-options")
