"""What happens around a training step: the path is drawn, progress is shown, the state is saved atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from ean_core.supernet.scorer import draw_path, sandwich_paths
from ean_core.training.finite_guard import check_run
from ean_core.training.state import plain_state
from ean_core.utils.distributed import barrier, is_main_process
from ean_core.utils.files import named, put_in_place
from ean_core.utils.progress import Bar


def bare(model: nn.Module) -> nn.Module:
    """The model inside a distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


class DrawPaths(Hook):
    """Sets the supernet's path before every step (Algorithm 1, line 3), from seed and step alone.

    Args:
        seed: of the run.
        sandwich: train the full, the empty and two random paths together instead of one random path.
    """

    def __init__(self, *, seed: int, sandwich: bool = False) -> None:
        self.seed, self.sandwich = seed, sandwich

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Draw for step `runner.iter`."""
        model = bare(runner.model)
        blocks = model.network.stages_blocks
        if self.sandwich:
            model.paths = sandwich_paths(blocks, seed=self.seed, step=runner.iter)
        else:
            model.paths = [draw_path(blocks, seed=self.seed, step=runner.iter)]


class SaveState(Hook):
    """Writes the run's whole state to one file after an epoch, so that a kill leaves the last complete one.

    MMEngine's own hook writes in place, and removes the old file before the new one is there.

    Args:
        path: the file, replaced atomically.
        interval: epochs between two writes; the last epoch is always written.
    """

    priority = "VERY_LOW"

    def __init__(self, path: Path, *, interval: int = 1) -> None:
        self.path, self.interval = path, interval

    def after_train_epoch(self, runner: Any) -> None:
        """Save if it is time."""
        epoch = runner.epoch + 1
        if epoch % self.interval == 0 or epoch == runner.max_epochs:
            self.save(runner, by_epoch=True)

    def save(self, runner: Any, *, by_epoch: bool) -> None:
        """Write the state after the current epoch, or after the current step.

        Raises:
            EANError: if the weights are not finite: the state before them stays.
        """
        check_run(runner)
        if is_main_process():
            # One name, unlike `atomic_path`'s: the large part that a kill leaves is replaced by the next state.
            temporary = self.path.with_name(f".{self.path.name}.tmp")
            try:
                with named(self.path):
                    runner.save_checkpoint(str(temporary.parent), temporary.name, by_epoch=by_epoch)
                    put_in_place(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)  # a part of a file would take up what room is left
        barrier()

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep to tensors and plain values, which are all that `read_state` needs to trust."""
        weights = ("state_dict", "ema_state_dict")
        checkpoint.update({name: plain_state(value) for name, value in checkpoint.items() if name not in weights})


class ShowProgress(Hook):
    """Moves a progress bar by steps, with the mean loss and accuracy of the epoch so far.

    Args:
        bar: what to move; None does nothing.
        every: steps between two looks at the loss, since each look waits for the device.

    Attributes:
        values: what of a step's outputs is averaged; a task with others has its own, and its own `text`.
    """

    priority = "LOW"
    values: tuple[str, ...] = ("loss", "top1")

    def __init__(self, bar: Bar | None, *, every: int = 20) -> None:
        self.bar, self.every = bar, every
        self.sums: dict[str, torch.Tensor] = {}
        self.steps = 0

    def before_train(self, runner: Any) -> None:
        """Remaining time is reckoned from where this process began."""
        if self.bar is not None:
            self.bar.first = runner.iter

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Say what a validation during training found."""
        if self.bar is not None and metrics:
            self.bar.say(f"{self.bar.name} after epoch {runner.epoch}{self.found(metrics)}")

    def found(self, metrics: dict[str, float]) -> str:
        """A validation's figures, behind the number of the epoch."""
        return ", %:  " + "  ".join(f"{name} {value:.2f}" for name, value in metrics.items() if name != "images")

    def before_train_epoch(self, runner: Any) -> None:
        """Start new means."""
        self.sums, self.steps = {}, 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add the step's values, and show the means now and then."""
        self.steps += 1
        for name in self.values:
            self.sums[name] = self.sums.get(name, 0.0) + outputs[name].detach()
        last = runner.iter + 1 == runner.max_iters
        if self.bar is not None and ((runner.iter + 1) % self.every == 0 or last):
            self.show(runner, {name: float(value) / self.steps for name, value in self.sums.items()})

    def show(self, runner: Any, means: dict[str, float]) -> None:
        """Move the bar."""
        self.bar.update(runner.iter + 1, self.text(runner, means))

    def text(self, runner: Any, means: dict[str, float]) -> str:
        """What stands beside the bar."""
        return f"epoch {runner.epoch + 1}/{runner.max_epochs}  loss {means['loss']:.3f}  train {means['top1']:.1f} %"
