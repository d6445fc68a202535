"""Stop training at the first non-finite loss, before anything is saved or validated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from ean_core.utils.errors import EANError
from ean_core.utils.find_nonfinite import first_not_finite_in


class StopIfNotFinite(Hook):
    """Stops all processes of a run together once a loss or a weight is NaN or infinite.

    On a CPU every step is checked. Checking on a GPU synchronizes, so losses are collected there and checked together:
    every few steps, at the end of an epoch, and before a state is saved or a network validated.

    Args:
        every: steps between two checks on a GPU.
    """

    priority = "VERY_HIGH"  # before the other hooks save, average or validate what the step left

    def __init__(self, *, every: int = 20) -> None:
        self.every = every
        self.losses: list[tuple[int, str, Tensor]] = []  # step, name, value
        self.step: int | None = None  # the last one

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Collect the step's losses, and check them if it is time."""
        self.step = runner.iter + 1
        losses = {name: value for name, value in (outputs or {}).items() if "loss" in name}
        # The total comes last, since a component is more informative.
        for name, value in sorted(losses.items(), key=lambda item: item[0] == "loss"):
            value = torch.as_tensor(value).detach().mean()
            self.losses.append((self.step, name, value))
        on_cpu = all(value.device.type == "cpu" for _, _, value in self.losses)
        if on_cpu or (runner.iter + 1) % self.every == 0:
            self.check_losses(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Check the epoch's remaining losses."""
        self.check_losses(runner)

    def before_val_epoch(self, runner: Any) -> None:
        """Check losses and weights before validation."""
        self.check(runner)

    def after_train(self, runner: Any) -> None:
        """Check losses and weights at the end of training."""
        self.check(runner)

    def check(self, runner: Any) -> None:
        """Check the collected losses, and the weights.

        Raises:
            EANError: in all processes, if one of them is not finite.
        """
        self.check_losses(runner)
        check_weights(runner, step=self.step)

    def check_losses(self, runner: Any) -> None:
        """Check the collected losses.

        Raises:
            EANError: in all processes, with the first step whose loss is not finite.
        """
        losses, self.losses = self.losses, []
        if not losses:
            return
        values = torch.stack([value.float() for _, _, value in losses]).tolist()
        non_finite = [
            (step, name, value)
            for (step, name, _), value in zip(losses, values, strict=True)
            if not math.isfinite(value)
        ]
        message = None if not non_finite else f"{non_finite[0][1]} is {non_finite[0][2]} at step {non_finite[0][0]}"
        stop_together(runner, message, device=losses[0][2].device)


def check_run(runner: Any) -> None:
    """Check losses and weights before saving; only weights in a run without a `StopIfNotFinite` hook.

    Raises:
        EANError: in all processes, if one of them is not finite.
    """
    guard = next((hook for hook in runner.hooks if isinstance(hook, StopIfNotFinite)), StopIfNotFinite())
    guard.check(runner)


def check_weights(runner: Any, *, step: int | None) -> None:
    """Check the weights, which can overflow before a loss shows it.

    Raises:
        EANError: in all processes, with the first tensor that is not finite.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    name = first_not_finite_in(model)
    message = None if name is None else f"{name} is not finite" + ("" if step is None else f" after step {step}")
    stop_together(runner, message, device=next(model.parameters()).device)


def stop_together(runner: Any, message: str | None, *, device: torch.device) -> None:
    """Stop all processes if one of them has a message; all processes call this together.

    Raises:
        EANError: with the same message in all processes.
    """
    message = first_message(message, device=device)
    if message is None:
        return
    rate = max(runner.optim_wrapper.get_lr()["lr"]) if hasattr(runner.optim_wrapper, "get_lr") else math.nan
    state = Path(runner.work_dir) / "last.pth"
    hint = f"; the last state before it is in {state}" if state.is_file() else ""
    raise EANError(
        f"training diverged: {message}, with a learning rate of {rate:.3g}: lower it, check images and labels, or "
        f"train in float32{hint}"
    )


def first_message(message: str | None, *, device: torch.device) -> str | None:
    """The message of the first process that has one; None if none has. All processes call this together."""
    if not dist.is_initialized():
        return message
    flag = torch.tensor(int(message is not None), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    if not flag:
        return None
    messages: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(messages, message)
    return next(item for item in messages if item is not None)
