"""The validation loop of a supernet, which scores several of its paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.runner import BaseLoop

from ean_core.scheme import Scheme
from ean_core.supernet.scorer import Scorer


class PathValLoop(BaseLoop):
    """Scores the full, the empty and a few fixed random paths, in eval mode, with the training's running statistics.

    Args:
        runner: of MMEngine.
        dataloader: of the search split's validation part.
        make_scorer: builds a new `Scorer`, since the weights have changed.
        random_paths: number of random paths, the same every time.
        evaluator: not used; passed by the runner.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        make_scorer: Callable[[], Scorer],
        random_paths: int = 3,
        evaluator: Any = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self.make_scorer, self.random_paths = make_scorer, random_paths

    def run(self) -> dict[str, float]:
        """Score the paths; accuracies in percent: "all_on", "all_off", "random_mean", "random_std"."""
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")
        scorer = self.make_scorer()
        blocks, rng = scorer.network.stages_blocks, np.random.default_rng(0)
        drawn = [Scheme.random(blocks, rng) for _ in range(self.random_paths)]
        scores = [score.accuracy for score in scorer([Scheme.all_on(blocks), Scheme.all_off(blocks), *drawn])]
        metrics = {
            "all_on": scores[0],
            "all_off": scores[1],
            "random_mean": float(np.mean(scores[2:])),
            "random_std": float(np.std(scores[2:], ddof=1)) if self.random_paths > 1 else 0.0,
        }
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return metrics
