"""Log test accuracies during training; nothing is selected by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from ean_core.utils.distributed import run_on_main_process


class LogTestAccuracy(Hook):
    """Appends a JSON line with epoch and top-1 accuracy in percent to a file after every validation.

    Args:
        path: the file. If a resumed run tests an epoch again, its later line counts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Append the line on the first process."""
        line = json.dumps({"epoch": runner.epoch, "top1": (metrics or {})["top1"]}) + "\n"

        def append() -> None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)

        run_on_main_process(append)


def best_test_epoch(path: Path) -> dict[str, float] | None:
    """The first epoch with the highest test accuracy in a `LogTestAccuracy` file.

    Published accuracies are often of that epoch. It is selected on test images, so nothing here depends on it.

    Returns:
        "epoch", "top1" in percent, and "tested", the number of tested epochs; None if fewer than two were tested.
    """
    tested: dict[int, float] = {}
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
            tested[line["epoch"]] = line["top1"]
        except (ValueError, RecursionError, KeyError, TypeError):
            continue  # a line that was cut off when the run was killed
    if len(tested) < 2:
        return None
    epoch = max(tested, key=lambda epoch: (tested[epoch], -epoch))
    return {"epoch": epoch, "top1": tested[epoch], "tested": len(tested)}
