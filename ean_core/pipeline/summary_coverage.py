"""What the records in a work directory cover, so that none is replaced by one that holds less."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ean_core.io.records import read_record
from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import Target, check_trained, finished, network_identity
from ean_core.pipeline.summary import name_of
from ean_core.training.work_dir import lock
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.distributed import barrier, is_main_process, run_on_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.screen import say

_ANOTHER = "or another --work-dir"


@dataclass(frozen=True)
class Row:
    """A network of a record; in one of search methods, networks have no names."""

    scheme: str
    network: str | None = None


@dataclass(frozen=True)
class RecipeOf:
    """The seeds of a record's recipe."""

    seeds: tuple[Count, ...]


@dataclass(frozen=True)
class SettingsOf:
    """The recipe of a record."""

    recipe: RecipeOf


def with_covered_seeds(job: Job, targets: Sequence[Target], path: Path) -> Job:
    """The job with the seeds of `covered_seeds`; its directory is locked until the process ends.

    Raises:
        EANError: if another run is using the directory, or as `covered_seeds`.
    """
    run_on_main_process(lambda: lock(job.directory))
    seeds = covered_seeds(job, targets, path)
    barrier()  # before a process finishes a training that another one has not looked for yet
    if is_main_process() and (more := [str(seed) for seed in seeds if seed not in job.recipe.seeds]):
        say(f"{path.name} covers seed {', '.join(more)} too, which was trained before")
    return job.replace_recipe(seeds=seeds)


def covered_seeds(job: Job, targets: Sequence[Target], path: Path) -> tuple[int, ...]:
    """The seeds that a record of these networks covers: the job's, and those that all the networks were trained with.

    Args:
        job: with the seeds to train.
        targets: the record's networks.
        path: of the record, which may be there already.

    Raises:
        EANError: if a network was trained there with other settings, or the record would lose a network or a seed.
    """
    trained = [trained_seeds(job, target) for target in targets]
    seeds = {*job.recipe.seeds, *set.intersection(*trained)}
    if earlier := read_coverage(path):
        networks, recorded = earlier
        check_networks(networks, targets, path)
        if lost := recorded - seeds:
            gone, all_seeds = (", ".join(map(str, sorted(some))) for some in (lost, recorded | seeds))
            raise EANError(
                f"{path} covers seed {gone}, and {job.directory} lacks some of its trainings: give the seeds "
                f"{all_seeds} to train them, {_ANOTHER}"
            )
    return tuple(sorted(seeds))


def trained_seeds(job: Job, target: Target) -> set[int]:
    """The seeds with which a network was trained in the job's directory.

    Raises:
        EANError: if one of these trainings has other settings.
    """
    prefix, seeds = target.directory(0).removesuffix("0"), set()
    for directory in job.directory.glob(f"{prefix}*"):
        number = directory.name.removeprefix(prefix)
        if re.fullmatch("0|[1-9][0-9]*", number) and finished(directory, job.task):
            check_trained(directory, network_identity(job, target, seed=int(number)), job.task)
            seeds.add(int(number))
    return seeds


def read_coverage(path: Path) -> tuple[list[Row], set[int]] | None:
    """The networks and the seeds of a record; None if there is none, or it is damaged, which is no loss."""
    try:
        record, how = read_record(path), {"where": str(path), "advice": ""}
        rows = checked(list[Row], record["metrics"], **how)
        return rows, set(checked(SettingsOf, record["settings"], **how).recipe.seeds)
    except EANError:
        return None


def check_networks(rows: Sequence[Row], targets: Sequence[Target], path: Path) -> None:
    """Make sure that a record's networks are all trained again, with the same schemes.

    Raises:
        EANError: for the first that is missing or differs.
    """
    schemes: Mapping[str, str] = {name_of(target.label): str(target.scheme) for target in targets}
    covered = {*schemes, *schemes.values()}
    lost = [row.network or row.scheme for row in rows if (row.network or row.scheme) not in covered]
    if lost:
        raise EANError(
            f"{path} covers {', '.join(lost)} too, and this run only {', '.join(schemes)}: give all of them, {_ANOTHER}"
        )
    for row in rows:
        if row.network and schemes[row.network] != row.scheme:
            raise EANError(
                f"{path} covers {row.network} with scheme {row.scheme}, and this run has {schemes[row.network]}: give "
                f"the same, {_ANOTHER}"
            )
