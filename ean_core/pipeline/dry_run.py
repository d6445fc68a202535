"""`--dry-run`: time a few steps of every part of a run, and say how long the whole takes, without training anything."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.device import get_device

from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.pipeline.estimate import Part, describe_total
from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import Target
from ean_core.pipeline.summary import name_of
from ean_core.pipeline.task import TrainingRun
from ean_core.scheme import Scheme
from ean_core.training.step_timing import Pace, StepsTimed, stop_when_timed, synchronize
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.screen import say
from ean_core.utils.text import about, how_many

BEGIN = "dry run: a few steps of each part are timed; nothing is trained to its end, and nothing is written"


def dry_run(job: Job, targets: Sequence[tuple[Target, int]], *, schemes: int | None = None) -> None:
    """Time the parts of a run, and print what each of them takes.

    Args:
        job: the run.
        targets: a network of each kind that is trained from scratch, and how many of the kind there are.
        schemes: that are scored on a supernet, at most; None for a run without a supernet.
    """
    refuse_processes()
    say(BEGIN)
    parts, epochs = [], []
    if schemes is not None:
        parts += time_search(job, schemes)
        epochs.append("supernet.epochs")
    for target, count in targets:
        pace = time_training(job, "train", job.task.train_network, target.spec, seed=job.recipe.seeds[0])
        parts.append(
            describe_pace(f"{name_of(target.label)}{f' ({count} networks)' if count > 1 else ''}", pace, count=count)
        )
    epochs += ["train.epochs"] if targets else []
    say(f"estimate: {describe_total(parts, epochs=epochs)}", where_kept(job.directory, resume=job.resume))


def time_search(job: Job, schemes: int) -> list[Part]:
    """The parts that need a supernet: its training, and scoring schemes on it."""
    pace = time_training(job, "supernet", job.task.train_supernet, job.task.spec(), seed=job.recipe.seed)
    supernet, seconds = describe_pace("supernet", pace), time_scoring(job)
    say(
        f"search: at most {how_many(schemes, 'scheme')} on {how_many(job.task.count_validation_images(), 'image')}, "
        f"{seconds:.2g} s per scheme: about {about(schemes * seconds)}"
    )
    return [supernet, Part("search", schemes * seconds)]


def describe_pace(name: str, pace: Pace, *, count: int = 1) -> Part:
    """Print what a training takes; returns it as a part of the run."""
    seconds = pace.total * count
    say(
        f"{name}: {how_many(pace.steps, 'step')}{' each' if count > 1 else ''}, {pace.seconds:.2g} s per step: "
        f"about {about(seconds)}"
    )
    return Part(name, seconds)


def where_kept(directory: Path, *, resume: bool) -> str:
    """Where the run would write, and what is there."""
    if not directory.exists():
        there = "a new directory"
    elif resume:
        there = "where finished parts would be reused"
    else:
        there = "which exists already: give --resume, or another --work-dir"
    return f"the results would be written to {directory}/, {there}"


def refuse_processes() -> None:
    """Refuse a dry run in several processes.

    Raises:
        EANError: if there are several.
    """
    if rank_and_world()[1] > 1:
        raise EANError("--dry-run times the steps of a single process: start it without torchrun or srun")


def time_training(
    job: Job, section: str, train: Callable[[TrainingRun, Any], Any], spec: TrunkSpec, *, seed: int
) -> Pace:
    """Train in a temporary folder until a few steps are timed; a training that ends before is timed as a whole."""
    with tempfile.TemporaryDirectory(prefix="ean-dry-run-") as folder:
        path, start = Path(folder), time.perf_counter()
        output = path / "network.pth"
        run = TrainingRun("timed steps", section, path, output, {}, seed, job.launcher, on_pace=stop_when_timed)
        try:
            train(run, spec)
        except StepsTimed as timed:
            return timed.pace
        return Pace(time.perf_counter() - start, 1)


def time_scoring(job: Job) -> float:
    """Seconds that scoring a scheme takes, on a supernet that was not trained."""
    network = job.task.build(job.task.spec()).to(get_device())
    scorer, blocks = job.task.make_scorer(network), job.task.blocks()
    scorer([Scheme.all_on(blocks)])  # not timed: kernels are chosen
    synchronize()
    start = time.perf_counter()
    scorer([Scheme.all_off(blocks)])
    synchronize()
    return time.perf_counter() - start
