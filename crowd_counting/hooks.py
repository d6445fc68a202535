"""Training hooks of a counter: the progress bar, and the checkpoint with the lowest validation error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mmengine.hooks import Hook

from crowd_counting.model.counter_file import load_counter
from ean_core.io.json_file import read_json
from ean_core.io.to_json import to_json
from ean_core.training.hooks import ShowProgress
from ean_core.training.run_key import check_keys, key_of, run_key
from ean_core.utils.checked_dataclasses import Positive, Range, checked
from ean_core.utils.distributed import is_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic

ADVICE = "move the folder away and train again"


class ShowCounting(ShowProgress):
    """The progress bar, with the epoch's mean loss and count error per crop, and each validation's errors."""

    values = ("loss", "crop_mae")

    def format_metrics(self, metrics: dict[str, float]) -> str:
        """Format a validation's errors, in people, of each part; the other metrics are in validation.json."""
        parts = [name.removesuffix("mae") for name in metrics if name == "mae" or name.endswith("/mae")]
        errors = [f"MAE {metrics[f'{part}mae']:.1f}, RMSE {metrics[f'{part}rmse']:.1f}" for part in parts]
        if len(parts) == 1:
            return f"validation {errors[0]}"
        named = (f"{part.rstrip('/') or 'annotated'} {error}" for part, error in zip(parts, errors, strict=True))
        return f"validation {'; '.join(named)}; relative error {metrics['relative_error']:.3f}"

    def fields(self, runner: Any, means: dict[str, float]) -> tuple[str, ...]:
        """Format the means of the epoch so far."""
        epoch = f"epoch {runner.epoch + 1}/{runner.max_epochs}"
        return f"loss {means['loss']:.4g}", f"count error {means['crop_mae']:.1f} per crop", epoch


class ShowPaths(ShowCounting):
    """The progress bar of a supernet, whose validations score a few paths."""

    def format_metrics(self, metrics: dict[str, float]) -> str:
        """Format the scores, in percent."""
        return ShowProgress.format_metrics(self, metrics)


@dataclass(frozen=True)
class Validation:
    """One validation in validation.json: the epoch, and its errors in people; of several parts, the relative one."""

    epoch: Positive
    mae: Annotated[float, Range(0)] | None = None
    rmse: Annotated[float, Range(0)] | None = None
    relative_error: Annotated[float, Range(0)] | None = None


@dataclass(frozen=True)
class Validations:
    """The checked content of a validation.json."""

    entries: tuple[Validation, ...]


def validation_error(metrics: Mapping[str, Any]) -> float | None:
    """The figure by which a counter is chosen, see `summarize_validation`; None if it is missing."""
    return metrics.get("relative_error", metrics.get("mae"))


class KeepBest(Hook):
    """Saves the counter with the lowest validation error, and the list of all validations.

    The training state is saved after an epoch but before its validation. A run killed in between resumes after that
    epoch and first runs the missing validation, so that it keeps the same counter as an uninterrupted run. A counter
    that was saved after the state, by epochs that are repeated, keeps its place in the list: where they do not repeat
    exactly, as on a GPU, its weights could not be had again.

    Args:
        history: path of validation.json, a list of {"epoch", "mae", ..}.
        best: path of the counter that `save` writes.
        every: epochs between validations.
        save: writes the current counter; called with the epoch and its metrics.
    """

    priority = "ABOVE_NORMAL"  # while MMEngine's EMAHook still has the averaged weights in the model

    def __init__(self, history: Path, *, best: Path, every: int, save: Callable[[int, dict[str, Any]], None]) -> None:
        self.history, self.best, self.every, self.save = history, best, every, save

    def before_train(self, runner: Any) -> None:
        """Drop validations later than the resumed state but that of the saved counter, and run the one that is missing.

        Raises:
            EANError: if the saved counter is missing, another run's, or not the best of the list.
        """
        kept = self.entry_of_best()
        earlier = [entry for entry in self.entries() if entry["epoch"] <= runner.epoch]
        entries = sorted_by_epoch([*earlier, *kept])
        if entries and all(validation_error(entry) > min(map(validation_error, entries)) for entry in kept):
            raise EANError(
                f"{self.best} is not the counter with the lowest error in {self.history}: put the right files there, "
                "or move the folder away and train again"
            )
        if is_main_process():
            self.write(entries)
        due = runner.epoch % self.every == 0 or runner.epoch == runner.max_epochs
        if runner.epoch and due and all(entry["epoch"] != runner.epoch for entry in entries):
            runner.val_loop.run()

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        """Save the counter if it is the best, and then the list.

        The list may have the epoch already: with the saved counter's error, which is kept unless it is higher.
        """
        if not is_main_process():
            return
        assert metrics is not None
        entries = self.entries()
        if lowest := all(validation_error(metrics) < validation_error(entry) for entry in entries):
            self.save(runner.epoch, metrics)
        if lowest or all(entry["epoch"] != runner.epoch for entry in entries):
            self.write(sorted_by_epoch([*entries, {"epoch": runner.epoch, **metrics}]))

    def write(self, entries: list[dict[str, Any]]) -> None:
        """Replace the file of validations."""
        write_atomic(self.history, to_json(entries, what=self.history, indent=1) + "\n")

    def entry_of_best(self) -> list[dict[str, Any]]:
        """The validation of the saved counter, which its file holds; empty if there is none.

        Raises:
            EANError: if the file is damaged or another run's.
        """
        if not self.best.exists():
            return []
        _, content = load_counter(self.best)
        check_keys([run_key(content.get("recipe") or {})], key_of(self.best.parent), file=self.best)
        return self.checked_entries([{"epoch": content.get("epoch"), **(content.get("validation") or {})}], self.best)

    def entries(self) -> list[dict[str, Any]]:
        """Read the validations so far, in order.

        Raises:
            EANError: if the file is damaged.
        """
        if not self.history.exists():
            return []
        entries = read_json(self.history, what="list of validations", advice=ADVICE)
        return self.checked_entries(entries, self.history)

    @staticmethod
    def checked_entries(entries: Any, path: Path) -> list[dict[str, Any]]:
        """The validations in a file, if each has an epoch and an error."""
        where = f"list of validations {path}"
        checked(Validations, {"entries": entries}, where=where, advice=ADVICE)
        if any(validation_error(entry) is None for entry in entries):
            raise EANError(f"{where} is damaged (a validation has no mae): {ADVICE}")
        return entries


def sorted_by_epoch(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Validations in order; of two of an epoch the later in the list."""
    return [entry for _, entry in sorted({entry["epoch"]: entry for entry in entries}.items())]
