"""What happens around a training step: dropout is seeded, progress and pictures are shown, the state is saved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import nn

from ean_core.data.read_image import read_image
from ean_core.inference.images import write_image
from ean_core.training.hooks import SaveState, ShowProgress
from ean_core.utils.distributed import is_main_process, rank_and_world
from segmentation.pictures import picture_of

STATE = "last.pth"


@HOOKS.register_module()
class SeedSteps(Hook):
    """Makes dropout a function of seed, step and process, so that a resumed run repeats it."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed torch for step `runner.iter`."""
        numbers = np.random.SeedSequence((runner.seed or 0, runner.iter, rank_and_world()[0]))
        torch.manual_seed(int(numbers.generate_state(1)[0]))


@HOOKS.register_module()
class SaveIterations(SaveState):
    """Writes the whole state to last.pth in the work directory every `interval` steps, and at the end."""

    def __init__(self, *, interval: int = 1000) -> None:
        super().__init__(Path(STATE), interval=interval)

    def before_train(self, runner: Any) -> None:
        """The work directory is the runner's."""
        self.path = Path(runner.work_dir) / STATE

    def after_train_epoch(self, runner: Any) -> None:
        """A run of steps is one long epoch for MMEngine: its end is the last step, which is saved already."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save if it is time."""
        step = runner.iter + 1
        if step % self.interval == 0 or step == runner.max_iters:
            average_statistics(runner.model)
            self.save(runner, by_epoch=False)

    def before_val_epoch(self, runner: Any) -> None:
        """All processes validate the same network."""
        average_statistics(runner.model)


def average_statistics(model: nn.Module) -> None:
    """Batch norm statistics become their mean over the processes, where batch norm did not synchronise them itself."""
    if rank_and_world()[1] > 1:
        all_reduce_params(model.buffers(), op="mean")


@HOOKS.register_module()
class KeepValidations(Hook):
    """Remembers what each validation found, in the state and so over a resumption.

    The state is saved after a step and before its validation. A run killed in between is resumed after that step, so
    that its validation is made up for before training goes on: the list is then that of an uninterrupted run.
    """

    def before_train(self, runner: Any) -> None:
        """Make up for the validation that the state was saved before; one after the last step is always repeated."""
        due = runner.iter >= runner.val_begin and runner.iter % runner.val_interval == 0
        lacking = all(row["iteration"] != runner.iter for row in validations(runner))
        if runner.iter == runner.max_iters or (runner.iter and due and lacking):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Add the figures under the step they belong to."""
        found = {name: float(value) for name, value in (metrics or {}).items() if name in ("mIoU", "mAcc", "aAcc")}
        known = validations(runner)
        rows = [row for row in known if row["iteration"] < runner.iter]
        runner.message_hub.update_info("validations", [*rows, {"iteration": runner.iter, **found}])


def validations(runner: Any) -> list[dict[str, float]]:
    """What `KeepValidations` remembers."""
    hub = runner.message_hub
    return list(hub.get_info("validations")) if "validations" in hub.runtime_info else []


class CountSeconds(Hook):
    """How long a run took, over its resumptions; what a killed process did after its last state counts for nothing."""

    priority = "VERY_HIGH"  # the state that is saved after a step holds the step's time

    def __init__(self) -> None:
        self.start, self.before = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self.before + time.monotonic() - self.start

    def before_train(self, runner: Any) -> None:
        """Take over what the resumed state says."""
        hub = runner.message_hub
        self.before = float(hub.get_info("seconds")) if "seconds" in hub.runtime_info else 0.0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """For the state."""
        runner.message_hub.update_info("seconds", self.seconds)


class ShowSteps(ShowProgress):
    """The bar of a run without epochs: the mean loss since its last look, and what validations found."""

    values = ("loss",)

    def show(self, runner: Any, means: dict[str, float]) -> None:
        """As the base, and start new means."""
        super().show(runner, means)
        self.before_train_epoch(runner)

    def text(self, runner: Any, means: dict[str, float]) -> str:
        """The loss alone."""
        return f"loss {means['loss']:.3f}"

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Say what a validation found."""
        if self.bar is not None and metrics:
            found = "  ".join(f"{name} {metrics[name]:.2f}" for name in ("mIoU", "mAcc", "aAcc") if name in metrics)
            self.bar.say(f"after step {runner.iter}, %:  {found}")


@HOOKS.register_module()
class SidePictures(Hook):
    """Writes image, truth and prediction of the first validation images at every validation.

    Args:
        count: how many images.
    """

    def __init__(self, *, count: int = 4) -> None:
        self.count, self.seen = count, 0

    def before_val_epoch(self, runner: Any) -> None:
        """Count anew."""
        self.seen = 0

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw what is still wanted; the other processes have other images and draw none."""
        for sample in outputs if is_main_process() else ():
            if self.seen >= self.count:
                return
            self.seen += 1
            name = f"{Path(sample.img_path).stem}_{runner.iter:06d}.png"
            image = np.asarray(read_image(sample.img_path))
            write_image(
                Path(runner.work_dir) / "pictures" / name,
                picture_of(image, sample, runner.val_dataloader.dataset.metainfo),
            )
