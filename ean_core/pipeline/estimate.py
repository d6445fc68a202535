"""How long a whole run will take, said when the first steps of its first training were timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mmengine.device import get_device

from ean_core.pipeline.job import Job
from ean_core.pipeline.search_constraints import SearchConstraints
from ean_core.training.settings import TrainSettings
from ean_core.training.step_timing import Pace
from ean_core.utils.distributed import is_main_process
from ean_core.utils.screen import say
from ean_core.utils.text import about, how_many

LONG = 12 * 3600.0
"""Seconds above which a run is told how to be shorter."""
FORWARD_SHARE = 1 / 3
"""Of the time of a training step, that of its forward pass."""


@dataclass(frozen=True)
class Part:
    """A part of a run and the seconds that it takes."""

    name: str
    seconds: float


def describe_parts(parts: Sequence[Part], *, epochs: Sequence[str] = ()) -> str:
    """The whole and its parts in a sentence, with advice for a run that takes days.

    Args:
        parts: of the run that are still to be done.
        epochs: fields of the recipe that hold numbers of epochs, for the advice.
    """
    each = ", ".join(f"{part.name} about {about(part.seconds)}" for part in parts)
    if len(parts) == 1:
        return f"estimate: {each}{describe_device(parts, epochs=epochs)}"
    return f"estimate: {each}; {describe_total(parts, epochs=epochs)}"


def describe_total(parts: Sequence[Part], *, epochs: Sequence[str] = ()) -> str:
    """The whole in a few words, with advice for a run that takes days; arguments as for `describe_parts`."""
    total = sum(part.seconds for part in parts)
    return f"in all about {about(total)}{describe_device(parts, epochs=epochs)}"


def describe_device(parts: Sequence[Part], *, epochs: Sequence[str]) -> str:
    """The end of a sentence: where the parts take so long, and what to try if that is long."""
    device = "CPU" if get_device() == "cpu" else "GPU"
    if sum(part.seconds for part in parts) < LONG:
        return f" on this {device}"
    fewer = " ".join(f"{name}=1" for name in epochs)
    advice = [f"--cfg-options {fewer} to try every part first"] if fewer else []
    advice += ["a GPU"] if device == "CPU" else ["several GPUs (docs/scaling.md)"]
    return f" on this {device}; try {', or '.join(advice)}"


def announce(job: Job, *, targets: int) -> Callable[[Pace], None] | None:
    """What says how long the run takes once the first steps of its supernet were timed.

    The networks' steps and the scoring of schemes are taken to cost as much per image as the supernet's.

    Args:
        job: the run.
        targets: networks that are trained from scratch after the search, with each of the recipe's seeds.
    """
    supernet, search = job.recipe.supernet, job.recipe.search
    if not isinstance(supernet, TrainSettings) or search is None:
        return None

    def told(pace: Pace) -> None:
        image = pace.seconds / supernet.batch_size
        images = job.task.count_validation_images() + search.bn_images
        scoring = image * FORWARD_SHARE * images * schemes_scored(job)
        parts = [Part("supernet", pace.total), Part("search", scoring)]
        count = targets * len(job.recipe.seeds)
        if count:
            passes = job.recipe.train.epochs * job.task.dataset().train_images
            parts.append(Part(how_many(count, "network"), image * passes * count))
        if is_main_process():
            say(describe_parts(parts, epochs=["supernet.epochs", "train.epochs"][: len(parts) - 1]))

    return told


def announce_networks(count: int, *, noun: str = "network", epochs: str = "train.epochs") -> Callable[[Pace], None]:
    """What says how long `count` networks take, the one that is timed among them.

    Args:
        count: of the networks.
        noun: what one of them is called.
        epochs: field of the recipe that sets how long one is trained.
    """

    def told(pace: Pace) -> None:
        if is_main_process():
            say(describe_parts([Part(how_many(count, noun), pace.total * count)], epochs=[epochs]))

    return told


def schemes_scored(job: Job) -> int:
    """Different schemes that the job's search scores, at most."""
    search, constraints = job.search, SearchConstraints.of(job)
    method = constraints.make_method(search.method, search.options, seed=job.recipe.seed, supernet=None)
    proposed = search.steps * len(method.propose())
    return min(proposed, search.max_evaluations or proposed, 2 ** sum(constraints.blocks))
