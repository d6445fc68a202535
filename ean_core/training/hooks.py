"""Training hooks: sample the path, show progress, save the state atomically."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from torch import nn

from ean_core.supernet.paths import draw_path, sandwich_paths
from ean_core.training.finite_guard import check_run
from ean_core.training.run_key import key_of
from ean_core.training.state import plain_state
from ean_core.training.work_dir import check_held
from ean_core.utils.distributed import barrier, is_main_process
from ean_core.utils.files import named, put_in_place
from ean_core.utils.progress import EARLY, Bar
from ean_core.utils.screen import say

SLOW = 5.0
"""Seconds after which a step is shown in any case."""
ACCURACIES = {"top1": "test accuracy", "top5": "top-5 accuracy"}
"""Accuracies of a validation during training, as they are printed."""


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model


def describe_paths(metrics: dict[str, float]) -> str:
    """The scores of a supernet's paths, from `PathValLoop`, in words.

    Of the full and the empty path those with calibrated batch norm are shown, where there are such: the running
    statistics, of an average path, suit them badly.
    """
    calibrated = "all_on_calibrated" in metrics
    full, empty = (metrics[f"{name}_calibrated" if calibrated else name] for name in ("all_on", "all_off"))
    note = " (BN calibrated)" if calibrated else ""
    spread = f"{metrics['random_mean']:.1f} ± {metrics['random_std']:.1f} %"
    return f"all connected {full:.1f} %, none {empty:.1f} %{note}, random schemes {spread}"


class DrawPaths(Hook):
    """Sets the supernet's path before every step (Algorithm 1, line 3), from seed and step alone.

    Args:
        seed: of the run.
        sandwich: train the full, the empty and two random paths together instead of one random path.
    """

    def __init__(self, *, seed: int, sandwich: bool = False) -> None:
        self.seed, self.sandwich = seed, sandwich

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the paths of step `runner.iter`."""
        model = unwrap_model(runner.model)
        blocks = model.network.stages_blocks
        if self.sandwich:
            model.paths = sandwich_paths(blocks, seed=self.seed, step=runner.iter)
        else:
            model.paths = [draw_path(blocks, seed=self.seed, step=runner.iter)]


class SyncBuffers(Hook):
    """Averages the buffers of the model and of its moving average over the processes at the end of an epoch.

    MMEngine's own hook leaves out the moving average, which would differ between processes in its batch norms.
    """

    def after_train_epoch(self, runner: Any) -> None:
        """Average them, before the epoch's validation and checkpoint."""
        averaged = [hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook)]
        for model in (runner.model, *averaged):
            all_reduce_params(model.buffers(), op="mean")


class SaveState(Hook):
    """Saves the run's full state to a single file after an epoch, atomically.

    MMEngine's own hook writes in place, and removes the old file before the new one is complete.

    Args:
        path: the file, replaced atomically.
        interval: epochs between two saves; the last epoch is always saved.
    """

    priority = "VERY_LOW"

    def __init__(self, path: Path, *, interval: int = 1) -> None:
        self.path, self.interval = path, interval

    def after_train_epoch(self, runner: Any) -> None:
        """Save every `interval` epochs and after the last one."""
        epoch = runner.epoch + 1
        if epoch % self.interval == 0 or epoch == runner.max_epochs:
            self.save(runner, by_epoch=True)

    def save(self, runner: Any, *, by_epoch: bool) -> None:
        """Write the state after the current epoch, or after the current step.

        Raises:
            EANError: if the weights are not finite, in which case the previous state is kept; if the run's directory
                was removed.
        """
        check_run(runner)
        if is_main_process():
            check_held(self.path)
            # A fixed name, unlike `atomic_path`'s: the next save overwrites the large leftover of a killed process.
            temporary = self.path.with_name(f".{self.path.name}.tmp")
            try:
                with named(self.path):
                    runner.save_checkpoint(str(temporary.parent), temporary.name, by_epoch=by_epoch)
                    put_in_place(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)  # a partial file would take up the remaining space
        barrier()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add the run's key, and convert to tensors and plain values, so that `read_state` can load them safely."""
        weights = ("state_dict", "ema_state_dict")
        checkpoint["meta"]["run"] = key_of(self.path.parent)
        checkpoint.update({name: plain_state(value) for name, value in checkpoint.items() if name not in weights})


class ShowProgress(Hook):
    """Updates a progress bar with the mean loss and accuracy of the epoch so far.

    Args:
        bar: the bar; None: do nothing.
        every: steps between two updates, each of which synchronizes with the device. The first steps (`EARLY`) and
            those that take longer than `SLOW` seconds are shown too.

    Attributes:
        values: the outputs of a step to average; tasks with other outputs override it and `fields`.
    """

    priority = "LOW"
    values: tuple[str, ...] = ("loss", "top1")

    def __init__(self, bar: Bar | None, *, every: int = 20) -> None:
        self.bar, self.every = bar, every
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0
        self.shown = time.monotonic()

    def before_train(self, runner: Any) -> None:
        """Estimate the remaining time from the first step of this process."""
        if self.bar is not None:
            self.bar.first = runner.iter

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Print the metrics of a validation during training."""
        if self.bar is not None and metrics:
            say(f"{self.bar.name}, epoch {runner.epoch}: {self.format_metrics(metrics)}")

    def format_metrics(self, metrics: dict[str, float]) -> str:
        """A validation's metrics, printed after the number of the epoch."""
        if "all_on" in metrics:
            return describe_paths(metrics)
        shown = [f"{word} {metrics[name]:.2f} %" for name, word in ACCURACIES.items() if name in metrics]
        return ", ".join(shown)

    def before_train_epoch(self, runner: Any) -> None:
        """Reset the means at the start of an epoch."""
        self.sums, self.steps = {}, 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add the step's values, and show their means every few steps."""
        self.steps += 1
        for name in self.values:
            self.sums[name] = self.sums.get(name, 0.0) + outputs[name].detach()
        if self.bar is not None and self.is_due(runner):
            self.shown = time.monotonic()
            self.show(runner, {name: float(value) / self.steps for name, value in self.sums.items()})

    def is_due(self, runner: Any) -> bool:
        """Whether this step is shown."""
        step = runner.iter + 1
        regular = step % self.every == 0 or step == runner.max_iters
        return regular or step - self.bar.first in EARLY or time.monotonic() - self.shown > SLOW

    def show(self, runner: Any, means: dict[str, float]) -> None:
        """Update the bar with the means."""
        self.bar.update(runner.iter + 1, *self.fields(runner, means))

    def fields(self, runner: Any, means: dict[str, float]) -> tuple[str, ...]:
        """What the bar shows, the most important first."""
        epoch = f"epoch {runner.epoch + 1}/{runner.max_epochs}"
        return f"loss {means['loss']:.3f}", f"train {means['top1']:.1f} %", epoch
