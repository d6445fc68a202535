"""The validation loop of a supernet, which scores several of its paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.runner import BaseLoop

from ean_core.scheme import Scheme
from ean_core.supernet.scorer import Scorer


class PathValLoop(BaseLoop):
    """Scores the full, the empty and a few fixed random paths, in eval mode.

    The running statistics of batch norm are those of an average path, so that with them the full and the empty path
    look worse than they are: these two are scored with statistics calibrated for each of them too.

    Args:
        runner: of MMEngine.
        dataloader: of the search split's validation part.
        make_scorer: builds a new `Scorer`, since the weights have changed.
        make_calibrated: builds a `Scorer` that calibrates batch norm; None if `make_scorer` does.
        random_paths: number of random paths, the same every time.
        evaluator: not used; passed by the runner.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        make_scorer: Callable[[], Scorer],
        make_calibrated: Callable[[], Scorer] | None = None,
        random_paths: int = 3,
        evaluator: Any = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self.make_scorer, self.make_calibrated, self.random_paths = make_scorer, make_calibrated, random_paths

    def run(self) -> dict[str, float]:
        """Score the paths; accuracies in percent: "all_on", "all_off", "random_mean", "random_std", and with
        `make_calibrated` also "all_on_calibrated" and "all_off_calibrated"."""
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")
        scorer = self.make_scorer()
        blocks, rng = scorer.network.stages_blocks, np.random.default_rng(0)
        drawn = [Scheme.random(blocks, rng) for _ in range(self.random_paths)]
        ends = [Scheme.all_on(blocks), Scheme.all_off(blocks)]
        scores = [score.value for score in scorer([*ends, *drawn])]
        metrics = {"all_on": scores[0], "all_off": scores[1]}
        if self.make_calibrated is not None:
            calibrated = (score.value for score in self.make_calibrated()(ends))
            metrics |= zip(("all_on_calibrated", "all_off_calibrated"), calibrated, strict=True)
        metrics |= {
            "random_mean": float(np.mean(scores[2:])),
            "random_std": float(np.std(scores[2:], ddof=1)) if self.random_paths > 1 else 0.0,
        }
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return metrics
