"""Ranges of the numbers in a segmentation config, checked when it is read: MMEngine checks none of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config

from ean_core.training.settings import RANGES
from ean_core.utils.checked_dataclasses import shorten
from ean_core.utils.errors import EANError

STEPS = (int, 1, 10**8)
SIDE = (int, 1, 8192)
NUMBERS: dict[str, tuple[type, float, float]] = {
    "train_cfg.max_iters": STEPS,
    "train_cfg.val_interval": STEPS,
    "optim_wrapper.accumulative_counts": (int, 1, 10**6),
    "optim_wrapper.clip_grad.max_norm": (float, 1e-12, 1e12),
    "optim_wrapper.optimizer.lr": (float, *RANGES["lr"]),
    "optim_wrapper.optimizer.momentum": (float, *RANGES["momentum"]),
    "optim_wrapper.optimizer.weight_decay": (float, *RANGES["weight_decay"]),
    **{
        f"{part}_dataloader.{name}": limits
        for part in ("train", "val", "test")
        for name, limits in (("batch_size", (int, 1, 2**16)), ("num_workers", (int, 0, 256)))
    },
}
"""Dotted name -> type, least and largest value; names that a config lacks are not checked."""


def check_numbers(config: Config) -> None:
    """Check the numbers of steps, images and processes, the sizes and the learning rate.

    Raises:
        EANError: for the first that is of the wrong type or out of range.
    """
    for name, limits in NUMBERS.items():
        check_number(name, _value(config, name), *limits)
    for name, side in _sides(config):
        check_number(name, side, *SIDE)
    for number, hook in enumerate(config.get("custom_hooks") or ()):
        if isinstance(hook, dict):
            check_number(f"custom_hooks.{number}.interval", hook.get("interval"), *STEPS)


def check_number(name: str, value: Any, kind: type, low: float, high: float) -> None:
    """Check a number; None stands for a field that is not given.

    Raises:
        EANError: if it is of the wrong type or out of range.
    """
    kinds = (int,) if kind is int else (int, float)
    if value is None or (type(value) in kinds and low <= value <= high):
        return
    what, style = ("an integer", ",d") if kind is int else ("a number", "g")
    raise EANError(f"{name} must be {what} of at least {low:{style}} and at most {high:{style}}, got {shorten(value)}")


def _value(config: Config, name: str) -> Any:
    """The value of a dotted name; None if there is none."""
    node: Any = config
    for key in name.split("."):
        if not hasattr(node, "get"):
            return None
        node = node.get(key)
    return node


def _sides(config: Config) -> Iterator[tuple[str, Any]]:
    """Names and values of the sides of crops."""
    preprocessor = config.model.get("data_preprocessor") if hasattr(config.model, "get") else None
    yield from _pair("model.data_preprocessor.size", (preprocessor or {}).get("size"))
    dataset = config.train_dataloader.get("dataset") or {}
    for number, step in enumerate(dataset.get("pipeline") or ()):
        if isinstance(step, dict):
            yield from _pair(f"train_dataloader.dataset.pipeline.{number}.crop_size", step.get("crop_size"))


def _pair(name: str, sides: Any) -> Iterator[tuple[str, Any]]:
    """A size (H, W), side by side; one number stands for both."""
    if isinstance(sides, list | tuple):
        yield from ((f"{name}.{number}", math.nan if side is None else side) for number, side in enumerate(sides))
    else:
        yield name, sides
