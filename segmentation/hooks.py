"""Training hooks: seeded dropout, saved states, recorded validations, progress and pictures."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from torch import nn

from ean_core.data.read_image import read_image
from ean_core.inference.images import result_name, write_image
from ean_core.supernet.paths import draw_path
from ean_core.training.hooks import SaveState, ShowProgress, unwrap_model
from ean_core.utils.checked_dataclasses import Count, Percent, Range, checked
from ean_core.utils.distributed import is_main_process, rank_and_world
from ean_core.utils.screen import say
from segmentation.pictures import draw_sample

STATE = "last.pth"


@HOOKS.register_module()
class SeedSteps(Hook):
    """Seeds dropout from seed, step and process, so that a resumed run repeats it."""

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Seed torch for step `runner.iter`."""
        numbers = np.random.SeedSequence((runner.seed or 0, runner.iter, rank_and_world()[0]))
        torch.manual_seed(int(numbers.generate_state(1)[0]))


@HOOKS.register_module()
class SaveIterations(SaveState):
    """Saves the full training state to last.pth in the work directory every `interval` steps and at the end."""

    def __init__(self, *, interval: int = 1000) -> None:
        super().__init__(Path(STATE), interval=interval)

    def before_train(self, runner: Any) -> None:
        """Set the path inside the runner's work directory."""
        self.path = Path(runner.work_dir) / STATE

    def after_train_epoch(self, runner: Any) -> None:
        """Do nothing: iteration-based training is a single epoch, whose last step is already saved."""

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save the state if it is due."""
        step = runner.iter + 1
        if step % self.interval == 0 or step == runner.max_iters:
            average_buffers(runner.model)
            self.save(runner, by_epoch=False)

    def before_val_epoch(self, runner: Any) -> None:
        """Average the buffers, so that all processes validate the same network."""
        average_buffers(runner.model)


def average_buffers(model: nn.Module) -> None:
    """Average the batch-norm statistics over the processes, where batch norm is not synchronized."""
    if rank_and_world()[1] > 1:
        all_reduce_params(model.buffers(), op="mean")


@HOOKS.register_module()
class KeepValidations(Hook):
    """Keeps the scores of all validations in the training state, so that they survive resuming.

    The state is saved after a step but before its validation. A run killed in between resumes after that step and first
    runs the missing validation, so that it ends with the same list as an uninterrupted run.
    """

    def before_train(self, runner: Any) -> None:
        """Run a validation that the state was saved before; one after the last step is always repeated."""
        due = runner.iter >= runner.val_begin and runner.iter % runner.val_interval == 0
        lacking = all(row["iteration"] != runner.iter for row in validations(runner))
        if runner.iter == runner.max_iters or (runner.iter and due and lacking):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Record the scores under their step."""
        scores = {name: float(value) for name, value in (metrics or {}).items() if name in ("mIoU", "mAcc", "aAcc")}
        previous = validations(runner)
        rows = [row for row in previous if row["iteration"] < runner.iter]
        runner.message_hub.update_info("validations", [*rows, {"iteration": runner.iter, **scores}])


@dataclass(frozen=True)
class ValidationRow:
    """The scores of a validation, in percent, by which the best one is found."""

    iteration: Count
    mIoU: Percent


@dataclass(frozen=True)
class Progress:
    """What the hooks here keep in the training state."""

    validations: tuple[ValidationRow, ...] = ()
    seconds: Annotated[float, Range(0)] = 0.0


def kept(runner: Any, name: str, default: Any) -> Any:
    """A field of `Progress` in the training state; `default` if it was never kept.

    Raises:
        EANError: if it is damaged.
    """
    hub = runner.message_hub
    if name not in hub.runtime_info:
        return default
    value = hub.get_info(name)
    checked(Progress, {name: value}, where=f"the state {STATE}", advice="move it away to start the run over")
    return value


def validations(runner: Any) -> list[dict[str, float]]:
    """The validations that `KeepValidations` has recorded, in order.

    Raises:
        EANError: if the state's are damaged.
    """
    return list(kept(runner, "validations", []))


class DrawPath(Hook):
    """Sets the backbone's path before every step (Algorithm 1, line 3), from seed and step alone.

    Args:
        seed: of the run.
    """

    def __init__(self, *, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the path of step `runner.iter`."""
        network = unwrap_model(runner.model).backbone.network
        network.set_scheme(draw_path(network.stages_blocks, seed=self.seed, step=runner.iter))


class CountSeconds(Hook):
    """Measures training time across resumed runs; time after the last saved state of a killed run does not count."""

    priority = "VERY_HIGH"  # so that the state saved after a step includes the step's time

    def __init__(self) -> None:
        self.start, self.before = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self.start

    def before_train(self, runner: Any) -> None:
        """Continue from the time in the resumed state."""
        self.before = float(kept(runner, "seconds", 0.0))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Store the time in the training state."""
        runner.message_hub.update_info("seconds", self.seconds)


class ShowSteps(ShowProgress):
    """The progress bar of an iteration-based run, with the mean loss since the last update and validation scores."""

    values = ("loss",)

    def show(self, runner: Any, means: dict[str, float]) -> None:
        """Update the bar and reset the means."""
        super().show(runner, means)
        self.before_train_epoch(runner)

    def fields(self, runner: Any, means: dict[str, float]) -> tuple[str, ...]:
        """The mean loss as the progress bar shows it."""
        return (f"loss {means['loss']:.3f}",)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Print the scores of a validation."""
        if self.bar is not None and metrics:
            scores = ", ".join(f"{name} {metrics[name]:.2f} %" for name in ("mIoU", "mAcc", "aAcc") if name in metrics)
            say(f"{self.bar.name}, step {runner.iter:,}: validation {scores}")


@HOOKS.register_module()
class SidePictures(Hook):
    """Writes image, ground truth and prediction of the first validation images side by side at every validation.

    Args:
        count: number of images.
    """

    def __init__(self, *, count: int = 4) -> None:
        self.count, self.seen = count, 0

    def before_val_epoch(self, runner: Any) -> None:
        """Reset the number of images drawn."""
        self.seen = 0

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Draw the images still due; only the first process draws."""
        for sample in outputs if is_main_process() else ():
            if self.seen >= self.count:
                return
            self.seen += 1
            name = result_name(Path(sample.img_path).stem, f"_{runner.iter:06d}.png")
            image = np.asarray(read_image(sample.img_path))
            write_image(
                Path(runner.work_dir) / "pictures" / name,
                draw_sample(image, sample, runner.val_dataloader.dataset.metainfo),
            )
