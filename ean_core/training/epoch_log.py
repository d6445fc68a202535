"""Log test accuracies during training; nothing is selected by them."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ean_core.io.json_file import parse_json
from ean_core.utils.checked_dataclasses import Count, Percent, checked
from ean_core.utils.distributed import run_on_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic


class LogTestAccuracy(Hook):
    """Appends a JSON line with epoch and top-1 accuracy in percent to a file after every validation.

    Args:
        path: the file. If a resumed run tests an epoch again, its later line counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def before_train(self, runner: Any) -> None:
        """Drop epochs later than the resumed state: all that an abandoned run left where a new one begins."""

        def drop() -> None:
            kept = {epoch: top1 for epoch, top1 in read_epochs(self.path).items() if epoch <= runner.epoch}
            if self.path.exists():
                lines = (json.dumps({"epoch": epoch, "top1": top1}) + "\n" for epoch, top1 in kept.items())
                write_atomic(self.path, "".join(lines))

        run_on_main_process(drop)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Append the line on the first process."""
        line = json.dumps({"epoch": runner.epoch, "top1": (metrics or {})["top1"]}) + "\n"

        def append() -> None:
            before = self.path.read_bytes() if self.path.exists() else b""
            torn = bool(before) and not before.endswith(b"\n")  # a killed run's last line
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" * torn + line)

        run_on_main_process(append)


@dataclass(frozen=True)
class EpochLine:
    """A line of the file: the test accuracy after an epoch."""

    epoch: Count
    top1: Percent


def read_epochs(path: Path) -> dict[int, float]:
    """Epoch -> test accuracy in percent, in a `LogTestAccuracy` file; empty if there is none."""
    tested: dict[int, float] = {}
    for text in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(EANError, UnicodeDecodeError):  # a line that was cut off when the run was killed
            content = parse_json(text.decode(), where=str(path), advice="")
            line = checked(EpochLine, content, where=str(path), advice="")
            tested[line.epoch] = line.top1
    return tested


def best_test_epoch(path: Path) -> dict[str, float] | None:
    """The first epoch with the highest test accuracy in a `LogTestAccuracy` file.

    Published accuracies are often of that epoch. It is selected on test images, so nothing here depends on it.

    Returns:
        "epoch", "top1" in percent, and "tested", the number of tested epochs; None if fewer than two were tested.
    """
    tested = read_epochs(path)
    if len(tested) < 2:
        return None
    epoch = max(tested, key=lambda epoch: (tested[epoch], -epoch))
    return {"epoch": epoch, "top1": tested[epoch], "tested": len(tested)}
