"""What a config must have to be trained, resumed and recorded, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from mmengine.config import Config

from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from segmentation.backbone import EANResNet
from segmentation.config import check_fields


def check_config(config: Config, model: Any, classes: int) -> None:
    """Check that a config can be trained, resumed and recorded with this model and number of classes.

    Raises:
        EANError: if not.
    """
    check_metric_and_hooks(config)
    check_batch(config)
    check_padding(config)
    check_channels(model)
    check_classes(model, classes)
    check_losses(config, model, classes)
    check_fields(config, model)


def check_metric_and_hooks(config: Config) -> None:
    """Check that the config has the metric and hooks that resuming and recording need.

    Raises:
        EANError: if not.
    """
    present = {config.get("val_evaluator", {}).get("type"), *(hook["type"] for hook in config.get("custom_hooks", ()))}
    missing = [name for name in ("ClassIoU", "SaveIterations", "KeepValidations", "SeedSteps") if name not in present]
    if missing:
        raise EANError(
            f"{config.filename} has no {missing[0]}: base it on segmentation/configs/_base_/voc.py, or train it with "
            "mmsegmentation's own tools/train.py, which any config with an EANResNet works with"
        )


def check_batch(config: Config) -> None:
    """Check that batch norm sees several values, also after global pooling.

    Raises:
        EANError: if not.
    """
    synchronized = torch.cuda.is_available() and rank_and_world()[1] > 1
    if config.train_dataloader.batch_size < 2 and not synchronized:
        raise EANError(
            f"train_dataloader.batch_size is {config.train_dataloader.batch_size}: batch norm after global pooling "
            "needs at least 2 images per process"
        )


def check_padding(config: Config) -> None:
    """Check that images are padded with a value that pixels can have: mmsegmentation normalizes first, then pads.

    Raises:
        EANError: if not; such borders would ruin batch norm's statistics.
    """
    preprocessor = config.model.get("data_preprocessor") or {}
    mean, std, value = (preprocessor.get(name) for name in ("mean", "std", "pad_val"))
    if not mean or not std or not isinstance(value, int | float):
        return
    low, high = (
        choose((pixel - center) / scale for center, scale in zip(mean, std, strict=False))
        for choose, pixel in ((min, 0.0), (max, 255.0))
    )
    if not low <= value <= high:
        raise EANError(
            f"model.data_preprocessor.pad_val is {value:g}, but images are padded after they are normalized, to values "
            f"from {low:.2f} to {high:.2f}: give 0, which is the mean"
        )


def check_channels(model: Any) -> None:
    """Check that the heads take the channels that an EANResNet gives; a neck may change their number.

    Raises:
        EANError: if not, as with another trunk than the one that the heads were made for.
    """
    backbone = model.backbone
    if not isinstance(backbone, EANResNet) or model.with_neck:
        return
    channels = backbone.channels
    for head in heads_of(model):
        indices = [head.in_index] if isinstance(head.in_index, int) else list(head.in_index)
        if not all(-len(channels) <= index < len(channels) for index in indices):
            raise EANError(
                f"{type(head).__name__} has in_index {head.in_index}, but the backbone has {len(channels)} outputs: "
                "set it, or the backbone's out_indices"
            )
        given = [channels[index] for index in indices]
        wanted = [head.in_channels] if isinstance(head.in_channels, int) else list(head.in_channels)
        if given != wanted and [sum(given)] != wanted:  # some heads concatenate their inputs
            raise EANError(
                f"{type(head).__name__} takes {shown(wanted)} channels, and {backbone.arch} gives {shown(given)} at "
                f"out_indices {backbone.out_indices}: set the head's in_channels, or another arch"
            )


def shown(numbers: Iterable[int]) -> str:
    """Channels or positions as a sentence lists them, such as "64, 128"."""
    return ", ".join(map(str, numbers))


def heads_of(model: Any) -> list[Any]:
    """The decode head, and the auxiliary head if there is one."""
    auxiliary = getattr(model, "auxiliary_head", None)
    return [head for head in (model.decode_head, auxiliary) if head is not None]


def check_classes(model: Any, classes: int) -> None:
    """Check that the heads have one output per class.

    Raises:
        EANError: if not.
    """
    for head in heads_of(model):
        if head.num_classes != classes:
            raise EANError(
                f"{type(head).__name__} has num_classes={head.num_classes} but the data set has {classes} classes: set "
                "num_classes of decode_head and auxiliary_head to that"
            )


def check_losses(config: Config, model: Any, classes: int) -> None:
    """Check that the losses' class weights match the classes and can be used, and that no class is ignored.

    Raises:
        EANError: if not.
    """
    heads = heads_of(model)
    ignored = [(f"{type(head).__name__}'s ignore_index", getattr(head, "ignore_index", None)) for head in heads]
    for part in ("val_evaluator", "test_evaluator"):
        if isinstance(evaluator := config.get(part), Mapping):
            ignored.append((f"{part}.ignore_index", evaluator.get("ignore_index")))
    ignored.append(
        ("model.data_preprocessor.seg_pad_val", config.model.get("data_preprocessor", {}).get("seg_pad_val"))
    )
    for head in heads:
        losses = head.loss_decode
        for loss in losses if isinstance(losses, Iterable) else [losses]:
            weights = getattr(loss, "class_weight", None)
            if weights is not None and len(weights) != classes:
                raise EANError(
                    f"the loss of {type(head).__name__} has {len(weights)} class weights but the data set has "
                    f"{classes} classes: give one per class"
                )
            if weights is not None and getattr(loss, "avg_non_ignore", False):
                raise EANError(
                    f"the loss of {type(head).__name__} has class weights and avg_non_ignore=True, with which "
                    "mmsegmentation fails: leave avg_non_ignore out, since weighted means skip ignored pixels anyway"
                )
            ignored.append((f"the ignore_index of {type(head).__name__}'s loss", getattr(loss, "ignore_index", None)))
    for what, label in ignored:
        if isinstance(label, int) and 0 <= label < classes:
            raise EANError(
                f"{what} is {label}, which is a class of the data set ({classes} classes, 0 to {classes - 1}): "
                "use 255 or another number that is not a class"
            )
