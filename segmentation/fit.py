"""Train a segmentor by its config, or go on where its state was saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ean_core.training.runner import QuietRunner
from ean_core.utils.distributed import barrier, is_main_process
from ean_core.utils.progress import bar
from segmentation.hooks import STATE, ShowSteps


def fit(config: Config, *, name: str, resume: bool, hooks: Sequence[Hook] = (), prepare: Any = None) -> Runner:
    """Train under a progress bar; the directory must be claimed already.

    Args:
        config: of the runner, including work_dir, launcher and seed.
        name: of the bar.
        resume: go on where the directory's state was saved.
        hooks: more hooks, for this process only.
        prepare: called with the model before training starts; None for nothing.

    Returns:
        the runner, after its last step.
    """
    runner = QuietRunner.from_cfg(config)
    if prepare is not None:
        prepare(runner.model)
    if resume:
        runner.resume_from(Path(config.work_dir) / STATE)
    for hook in hooks:
        runner.register_hook(hook)
    with bar(name, config.train_cfg.max_iters, show=is_main_process()) as progress:
        runner.register_hook(ShowSteps(progress))
        runner.train()
    barrier()
    return runner


def place(config: Config, directory: Path, *, seed: int, launcher: str) -> None:
    """Write into a config, in place, where a run is kept, its seed, and how it is started."""
    config.work_dir, config.launcher = str(directory), launcher
    config.randomness = {**config.get("randomness", {}), "seed": seed}


def log_to(config: Config, backends: Sequence[str]) -> None:
    """Add visualization backends to a config, in place."""
    config.visualizer.pop("name", None)  # a named visualizer would be reused from this process's earlier run
    config.visualizer.vis_backends = [*config.visualizer.vis_backends, *({"type": name} for name in backends)]
