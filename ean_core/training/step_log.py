"""MMEngine's log of a step's outputs, without synchronizing at every step."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import RuntimeInfoHook
from torch import Tensor

LOG_EVERY = 50
"""Steps between two log lines."""


class QuietRuntimeInfo(RuntimeInfoHook):
    """Sums losses on the device, and reads their means only when a log line is due.

    MMEngine's own hook reads every value at every step, which synchronizes with the GPU. The log shows the mean since
    its last line, so it needs `LogProcessor(window_size=1)`.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor | float] = {}
        self.steps = 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Add the outputs, and pass their means to the message hub before the logger reads it."""
        self.steps += 1
        for name, value in (outputs or {}).items():
            value = value.detach() if isinstance(value, Tensor) else value
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        last = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if last or self.every_n_inner_iters(batch_idx, LOG_EVERY):
            for name, value in self.sums.items():
                runner.message_hub.update_scalar(f"train/{name}", value / self.steps)
            self.sums, self.steps = {}, 0
