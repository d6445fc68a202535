"""Reading a config of mmsegmentation, and fitting it to this machine and this command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, LOOPS, PARAM_SCHEDULERS
from mmseg.registry import DATASETS, MODELS

import segmentation.data.transforms  # noqa: F401 (registers how all configs' images and masks are read)
from ean_core.utils.config_files import check_config_file
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError, first_line

MISTAKES = (TypeError, KeyError, ValueError, AssertionError, AttributeError, RuntimeError)
"""What MMEngine, its registries and torch raise for a field that is unknown or of a wrong type."""


def read_config(
    path: str | Path,
    options: Mapping[str, Any] | None = None,
    *,
    data_root: str = "data",
    weights: str | None = None,
    amp: bool = False,
) -> Config:
    """A config, with the command's options in it, for the device that is there.

    Args:
        path: a file of mmsegmentation's form.
        options: values by dotted name; one that the config does not know is refused.
        data_root: stands for the leading `data` of the data sets' folders.
        weights: of the backbone.
        amp: mixed precision.

    Raises:
        EANError: if it is missing, no Python, no segmentation config, or an option is unknown.
    """
    check_config_file(path, folders=["segmentation/configs"])
    if Path(path).suffix != ".py":  # what a config of mmsegmentation names is called, whatever file names it
        raise EANError(f"{path} is no .py file, as configs of segmentation are: see segmentation/configs/")
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is a program: it can fail in any way
        raise EANError(f"{path} cannot be read as a config ({type(error).__name__}: {first_line(error)})") from None
    missing = [key for key in ("model", "train_dataloader", "val_dataloader", "train_cfg") if key not in config]
    if missing:
        raise EANError(f"{path} has no {missing[0]}: expected a segmentation config, with mmsegmentation's fields")
    for name in options or {}:
        check_option(config, name)
    config.merge_from_dict(dict(options or {}))
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
    """Refuse an option whose parent the config does not have, or whose first name is new: it is a slip of the keys."""
    first, *rest = name.split(".")
    place: Any = config._cfg_dict
    for key in (first, *rest[:-1]) if rest else (first,):
        if isinstance(place, list | tuple) and key.isdigit() and int(key) < len(place):
            place = place[int(key)]
        elif isinstance(place, Mapping) and key in place:
            place = place[key]
        else:
            known = ", ".join(place) if isinstance(place, Mapping) else f"{len(place)} entries"
            raise EANError(f"--cfg-options {name}: the config has no {key!r} there, it has {known}")


def dataset_configs(config: Config) -> Iterator[Any]:
    """The configs of the data sets, each once, those inside of others too."""
    for part in ("train", "val", "test"):
        if f"{part}_dataloader" in config:
            outer = config[f"{part}_dataloader"].dataset
            yield from (one for one in outer.get("datasets", [outer]) if "data_root" in one)


def fit_to_device(config: Config) -> None:
    """What MMEngine assumes of a GPU, set right where there is none."""
    if torch.cuda.is_available():
        return
    config.merge_from_dict({"env_cfg": {"dist_cfg": {"backend": "gloo"}, "cudnn_benchmark": False}})
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None, "broadcast_buffers": False}
    config.model_wrapper_cfg = {**wrapper, **config.get("model_wrapper_cfg", {})}
    if rank_and_world()[1] > 1:  # torch's synchronised batch norm runs on GPUs only
        config.model = plain_batch_norm(config.model.to_dict())


def plain_batch_norm(value: Any) -> Any:
    """The same config with BN in place of SyncBN."""
    if isinstance(value, dict):
        return {key: plain_batch_norm(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain_batch_norm(one) for one in value)
    return "BN" if value == "SyncBN" else value


def datasets_of(config: Config) -> tuple[Any, Any]:
    """The training and the validation data set; building them checks their folders and lists.

    The classes are called themselves, since the registry's `build` puts words of its own before a sentence.
    """
    return tuple(build_dataset(config[f"{part}_dataloader"].dataset) for part in ("train", "val"))


def build_dataset(config: Mapping[str, Any]) -> Any:
    """One data set of a config."""
    arguments = dict(config)
    name = arguments.pop("type")
    cls = DATASETS.get(name)
    if cls is None:
        raise EANError(f"the data set {name!r} is not known: name the module that registers it in custom_imports")
    try:
        return cls(**arguments)
    except (TypeError, KeyError) as error:  # an argument or a transform that does not exist
        raise EANError(f"the data set {name} cannot be built ({first_line(error)}): check its fields") from None


def build_model(config: Config) -> Any:
    """The segmentor of a config.

    Raises:
        EANError: if it cannot be built, without the words that the registry puts before a sentence.
    """
    try:
        return MODELS.build(config.model)
    except (EANError, *MISTAKES) as error:
        raise unbuilt("model", error) from None


def check_fields(config: Config, model: Any) -> None:
    """Build what MMEngine would build only when the training starts: optimiser, schedules and hooks; check the loop's
    arguments.

    Raises:
        EANError: if one of them cannot be built.
    """
    part = "optim_wrapper"
    try:
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
        raise unbuilt(part, error) from None


def unbuilt(what: str, error: Exception) -> EANError:
    """The sentence for a part that cannot be built, without the words that the registry puts before each."""
    message = re.sub(r"^(class `\w+` in [\w/.]+: )+", "", str(error))
    if isinstance(error, EANError):
        return EANError(message)
    reason = first_line(Exception(message))
    return EANError(f"the config's {what} cannot be built ({reason}): check its fields, and --cfg-options")
