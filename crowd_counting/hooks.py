"""Around a counter's training: progress, and the checkpoint that the held-out images choose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mmengine.hooks import Hook

from ean_core.io.json_file import read_json
from ean_core.io.to_json import to_json
from ean_core.io.typed import Positive, Range, checked
from ean_core.training.hooks import ShowProgress
from ean_core.utils.distributed import is_main_process
from ean_core.utils.files import write_atomic


class ShowCounting(ShowProgress):
    """The bar, with the epoch's mean loss and error per crop, and the best validation so far."""

    values = ("loss", "crop_mae")

    def format_metrics(self, metrics: dict[str, float]) -> str:
        """Heads, not percent; all other figures are in validation.json."""
        return f":  MAE {metrics['mae']:.1f}  RMSE {metrics['rmse']:.1f}"

    def text(self, runner: Any, means: dict[str, float]) -> str:
        """The epoch, and the means."""
        epoch = f"epoch {runner.epoch + 1}/{runner.max_epochs}"
        return f"{epoch}  loss {means['loss']:.4g}  off by {means['crop_mae']:.1f} a crop"


@dataclass(frozen=True)
class Validation:
    """An entry of validation.json."""

    epoch: Positive
    mae: Annotated[float, Range(0)]
    rmse: Annotated[float, Range(0)] | None = None


@dataclass(frozen=True)
class Validations:
    """All of a validation.json."""

    entries: tuple[Validation, ...]


class KeepBest(Hook):
    """Keeps the counter with the lowest MAE on the validation images, and a list of all validations.

    The state is saved after an epoch and before its validation. A run killed in between is resumed after that epoch,
    so that its validation, if the list lacks it, is made up for before training goes on: what is kept is then what an
    uninterrupted run keeps.

    Args:
        history: validation.json, a list of {"epoch", "mae", ..}.
        every: epochs between two validations.
        save: writes the counter as it is; called with the epoch and its metrics.
    """

    priority = "LOW"

    def __init__(self, history: Path, *, every: int, save: Callable[[int, dict[str, Any]], None]) -> None:
        self.history, self.every, self.save = history, every, save

    def before_train(self, runner: Any) -> None:
        """Forget validations after the state that is resumed from, and make up for a missing one."""
        entries = [entry for entry in self.entries() if entry["epoch"] <= runner.epoch]
        if is_main_process():
            write_atomic(self.history, to_json(entries, what=self.history, indent=1) + "\n")
        due = runner.epoch % self.every == 0 or runner.epoch == runner.max_epochs
        if runner.epoch and due and all(entry["epoch"] != runner.epoch for entry in entries):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        """Keep the counter if it is the best; the list is written last, so that a kill repeats the validation."""
        if not is_main_process():
            return
        assert metrics is not None
        entries = self.entries()
        if all(metrics["mae"] < entry["mae"] for entry in entries):
            self.save(runner.epoch, metrics)
        entries.append({"epoch": runner.epoch, **metrics})
        write_atomic(self.history, to_json(entries, what=self.history, indent=1) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """The validations so far, in order.

        Raises:
            EANError: if the file is damaged.
        """
        if not self.history.exists():
            return []
        advice = "move the folder away and train again"
        entries = read_json(self.history, what="list of validations", advice=advice)
        where = f"list of validations {self.history}"
        checked(Validations, {"entries": entries}, where=where, advice=advice)
        return entries
