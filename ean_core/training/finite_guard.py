"""The guard of every training: it stops at the first loss that is not finite, before anything is saved or validated."""

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
from ean_core.utils.finite import first_not_finite_in


class StopIfNotFinite(Hook):
    """Stops all processes of a run together once a loss of one of them, or a weight, is NaN or infinite.

    On a CPU every step is looked at. A GPU that is looked at has run out of work, so that its losses are kept there and
    looked at together: every few steps, at the end of an epoch, and before a state is saved or a network validated.

    Args:
        every: steps between two looks at a GPU.
    """

    priority = "VERY_HIGH"  # before the other hooks save, average or validate what the step left

    def __init__(self, *, every: int = 20) -> None:
        self.every = every
        self.losses: list[tuple[int, str, Tensor]] = []  # step, name, value
        self.step: int | None = None  # the last one

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the step's losses, and look at them if it is time."""
        self.step = runner.iter + 1
        found = {name: value for name, value in (outputs or {}).items() if "loss" in name}
        # The total comes last: one of its parts says more.
        for name, value in sorted(found.items(), key=lambda item: item[0] == "loss"):
            value = torch.as_tensor(value).detach().mean()
            self.losses.append((self.step, name, value))
        on_cpu = all(value.device.type == "cpu" for _, _, value in self.losses)
        if on_cpu or (runner.iter + 1) % self.every == 0:
            self.check_losses(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Look at what is left of the epoch."""
        self.check_losses(runner)

    def before_val_epoch(self, runner: Any) -> None:
        """No network is validated whose weights are not finite."""
        self.check(runner)

    def after_train(self, runner: Any) -> None:
        """Nor is one called finished."""
        self.check(runner)

    def check(self, runner: Any) -> None:
        """Look at the losses so far, and at the weights.

        Raises:
            EANError: in all processes, if one of them is not finite.
        """
        self.check_losses(runner)
        check_weights(runner, step=self.step)

    def check_losses(self, runner: Any) -> None:
        """Look at the losses so far.

        Raises:
            EANError: in all processes, naming the first step with a loss that is not finite.
        """
        losses, self.losses = self.losses, []
        if not losses:
            return
        values = torch.stack([value.float() for _, _, value in losses]).tolist()
        bad = [
            (step, name, value)
            for (step, name, _), value in zip(losses, values, strict=True)
            if not math.isfinite(value)
        ]
        what = None if not bad else f"{bad[0][1]} is {bad[0][2]} at step {bad[0][0]}"
        stop_together(runner, what, device=losses[0][2].device)


def check_run(runner: Any) -> None:
    """The guard's look at losses and weights, for whoever is about to save them; weights alone in a run without one.

    Raises:
        EANError: in all processes, if one of them is not finite.
    """
    guard = next((hook for hook in runner.hooks if isinstance(hook, StopIfNotFinite)), StopIfNotFinite())
    guard.check(runner)


def check_weights(runner: Any, *, step: int | None) -> None:
    """Look at the weights, which can leave the range of numbers before a loss shows it.

    Raises:
        EANError: in all processes, naming the first tensor that is not finite.
    """
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    name = first_not_finite_in(model)
    what = None if name is None else f"{name} is not finite" + ("" if step is None else f" after step {step}")
    stop_together(runner, what, device=next(model.parameters()).device)


def stop_together(runner: Any, what: str | None, *, device: torch.device) -> None:
    """Stop this process and all others if one of them has something to say.

    Raises:
        EANError: with the same sentence everywhere.
    """
    what = first_message(what, device=device)
    if what is None:
        return
    rate = max(runner.optim_wrapper.get_lr()["lr"]) if hasattr(runner.optim_wrapper, "get_lr") else math.nan
    state = Path(runner.work_dir) / "last.pth"
    kept = f"; the last state before it is kept in {state}" if state.is_file() else ""
    raise EANError(
        f"the training diverged: {what}, with a learning rate of {rate:.3g}: lower it, look for wrong images or "
        f"labels, or train in float32 if it was not{kept}"
    )


def first_message(what: str | None, *, device: torch.device) -> str | None:
    """What the first process that has something to say says; None if none has. All processes call it together."""
    if not dist.is_initialized():
        return what
    flag = torch.tensor(int(what is not None), device=device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    if not flag:
        return None
    said: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(said, what)
    return next(one for one in said if one is not None)
