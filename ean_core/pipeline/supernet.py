"""First part of the pipeline: train the share-full supernet on random paths (Algorithm 1, lines 1 to 5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ean_core.io.safe_load import load_tensors
from ean_core.pipeline.job import Job
from ean_core.training.step_timing import Pace
from ean_core.training.work_dir import check_same
from ean_core.utils.own_code import code_of


def train_supernet(job: Job, *, on_pace: Callable[[Pace], None] | None = None) -> Path:
    """Train the supernet, or resume its training, and write supernet.pth.

    Args:
        job: the run.
        on_pace: called once when the first few steps have been timed.

    Returns:
        the file; if it is there already and the job resumes, nothing is done.

    Raises:
        EANError: if the directory holds a run that is not to be resumed, or one with other settings.
    """
    spec, identity = job.task.spec(), supernet_identity(job)
    output = job.directory / "supernet.pth"
    if output.exists() and job.resume:
        check_supernet(output, identity)
        return output
    run = job.training_run(
        "supernet",
        section="supernet",
        directory=job.directory / "supernet",
        output=output,
        identity=identity,
        seed=job.recipe.seed,
        on_pace=on_pace,
    )
    job.task.train_supernet(run, spec)
    return output


def supernet_identity(job: Job) -> dict[str, Any]:
    """What a supernet depends on."""
    return {
        "part": "supernet",
        "model": dataclasses.asdict(job.task.spec()),
        "data": dict(job.task.dataset().fingerprint),
        "supernet": dataclasses.asdict(job.supernet),
        "seed": job.recipe.seed,
        **job.task.starting_weights(),
        **code_of(job.recipe.model.attention),
    }


def check_supernet(path: Path, identity: dict[str, Any]) -> None:
    """Refuse a supernet of other data, another split, seed or recipe: it may have seen this run's validation images.

    Raises:
        EANError: naming the first setting that differs, or if the file is damaged.
    """
    content = load_tensors(path)
    earlier = content.get("recipe") if isinstance(content, dict) else None
    check_same(earlier if isinstance(earlier, Mapping) else {}, identity, what=f"{path} was trained with")
