"""Training one network or supernet under a progress bar: what the pipeline's first and last part share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from classification.job import Job
from ean_core.data.loader import Loader
from ean_core.networks import StagedNetwork
from ean_core.training.classifier import ImageClassifier
from ean_core.training.hooks import ShowProgress
from ean_core.training.runner import build_runner
from ean_core.training.schedule import TrainSettings
from ean_core.utils.distributed import is_first
from ean_core.utils.errors import batch_of
from ean_core.utils.progress import bar

_Classifier = TypeVar("_Classifier", bound=ImageClassifier)


def as_model(kind: type[_Classifier], network: StagedNetwork, settings: TrainSettings, job: Job) -> _Classifier:
    """The network as an MMEngine model of this kind, in the settings' memory format and precision."""
    if settings.channels_last:
        network.to(memory_format=torch.channels_last)
    return kind(
        network,
        job.normalise(channels_last=settings.channels_last),
        label_smoothing=settings.label_smoothing,
        precision=settings.precision,
        cuda_graph=settings.cuda_graph,
    )


def fit(
    job: Job,
    model: ImageClassifier,
    loader: Loader,
    settings: TrainSettings,
    *,
    name: str,
    directory: Path,
    seed: int,
    validation: dict[str, Any] | None,
    hooks: Sequence[Hook] = (),
    unused_parameters: bool = False,
) -> Runner:
    """Train, or go on where the directory's state was saved.

    Args:
        job: how it runs.
        name: of the progress bar.
        directory, seed, validation, hooks, unused_parameters: as `build_runner` takes them.

    Returns:
        the runner, after its last epoch.
    """
    with bar(name, settings.epochs * len(loader), show=is_first()) as progress:
        runner = build_runner(
            model,
            loader,
            settings,
            work_dir=directory,
            seed=seed,
            launcher=job.launcher,
            validation=validation,
            hooks=[*hooks, ShowProgress(progress)],
            resume=job.resume,
            backends=job.backends,
            unused_parameters=unused_parameters,
        )
        section = "supernet" if name == "supernet" else "train"
        with batch_of(settings.batch_size, option=f"--cfg-options {section}.batch_size"):
            runner.train()
    return runner
