"""Test accuracies during training: written down, and never chosen by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ean_core.utils.distributed import run_on_main_process


class LogTestAccuracy(Hook):
    """Appends a line to a file after every validation: the epoch, and its top-1 accuracy in percent.

    Args:
        path: the file. An epoch that a resumed run tests again has two lines, of which the later one counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write the line."""
        line = json.dumps({"epoch": runner.epoch, "top1": (metrics or {})["top1"]}) + "\n"

        def append() -> None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)

        run_on_main_process(append)


def best_test_epoch(path: Path) -> dict[str, float] | None:
    """The epoch with the highest test accuracy of those in a `LogTestAccuracy`'s file, the first of equals.

    That is what published accuracies often are. It is chosen on test images, so that nothing here is chosen by it.

    Returns:
        "epoch" and "top1", percent, and "tested", the number of epochs that were; None if none but the last was.
    """
    tested: dict[int, float] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
            tested[line["epoch"]] = line["top1"]
        except (ValueError, RecursionError, KeyError, TypeError):
            continue  # a line that a kill cut short
    if len(tested) < 2:
        return None
    epoch = max(tested, key=lambda one: (tested[one], -one))
    return {"epoch": epoch, "top1": tested[epoch], "tested": len(tested)}
