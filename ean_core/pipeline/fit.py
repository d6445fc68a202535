"""Training a model under a progress bar, for tasks whose settings are `TrainSettings`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from ean_core.pipeline.task import TrainingRun
from ean_core.training.hooks import ShowProgress
from ean_core.training.runner import build_runner
from ean_core.training.settings import TrainSettings
from ean_core.training.step_timing import TimeSteps, stop_when_timed
from ean_core.utils.distributed import is_main_process
from ean_core.utils.errors import batch_of
from ean_core.utils.progress import Bar, bar


def fit(
    run: TrainingRun,
    model: BaseModel,
    loader: Any,
    settings: TrainSettings,
    *,
    validation: dict[str, Any] | None = None,
    hooks: Sequence[Hook] = (),
    unused_parameters: bool = False,
    show_progress: Callable[[Bar | None], Hook] = ShowProgress,
) -> Runner:
    """Claim the run's directory and train, or go on where its state was saved.

    Args:
        run: where it is kept and what it depends on.
        model: of MMEngine's kind: `train_step` on a batch.
        loader: training batches; its length is the number of steps of an epoch.
        settings: epochs, optimizer and schedule.
        validation, hooks, unused_parameters: as `build_runner` takes them.
        show_progress: makes the hook that moves the bar; the default shows loss and training accuracy.

    Returns:
        the runner, after its last epoch.
    """
    run.claim()
    timing = [] if run.on_pace is None else [TimeSteps(run.on_pace)]
    keep = run.on_pace is not stop_when_timed
    with bar(run.name, settings.epochs * len(loader), show=is_main_process(), keep=keep) as progress:
        runner = build_runner(
            model,
            loader,
            settings,
            work_dir=run.directory,
            seed=run.seed,
            launcher=run.launcher,
            validation=validation,
            hooks=[*hooks, show_progress(progress), *timing],
            resume=run.resume,
            backends=run.backends,
            unused_parameters=unused_parameters,
        )
        with batch_of(settings.batch_size, option=f"--cfg-options {run.section}.batch_size"):
            runner.train()
    return runner
