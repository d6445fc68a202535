"""Train a counter, keep the best on the validation images and the last, and test both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.device import get_device

from crowd_counting.data.points import CrowdImage
from crowd_counting.evaluation import score_file, test_figures
from crowd_counting.hooks import KeepBest, ShowCounting, ShowPaths
from crowd_counting.job import Job
from crowd_counting.metrics import CountMetric, ImageErrors, group_by_part, summarize_parts
from crowd_counting.model.counter_file import load_counter, save_counter
from crowd_counting.model.losses import LOSSES
from crowd_counting.model.network import Counter
from crowd_counting.model.training_model import CountingModel, SupernetCountingModel
from crowd_counting.recipe import TrainRecipe
from ean_core.inference.count_errors import RangeErrors, by_part
from ean_core.io.records import read_record, write_record
from ean_core.networks import count_parameters
from ean_core.pipeline.fit import fit
from ean_core.pipeline.task import TrainingRun
from ean_core.training.hooks import DrawPaths, unwrap_model
from ean_core.training.run_key import check_keys, run_key
from ean_core.training.state import read_state
from ean_core.training.step_timing import Pace
from ean_core.utils.checked_dataclasses import Count, build, checked
from ean_core.utils.distributed import barrier, is_main_process, run_on_main_process
from ean_core.utils.errors import EANError

BEST, FINAL = "best.pth", "final.pth"

Model = TypeVar("Model", bound=CountingModel)


def train_counter(job: Job, *, seed: int, on_pace: Callable[[Pace], None] | None = None) -> Path:
    """Train with one seed, and write best.pth, final.pth, validation.json and result.json.

    Args:
        job: the run.
        seed: of weights, crops and their order.
        on_pace: called once when the first few steps have been timed.

    Returns:
        the seed's directory. If it already has a result.json, nothing is trained.
    """
    directory, identity = job.directory / f"seed{seed}", job.identity(seed=seed)
    kept = (job.launcher, job.resume, job.backends, job.work_dir())
    run = TrainingRun(f"seed {seed}", "train", directory, directory / BEST, identity, seed, *kept, on_pace=on_pace)
    run.claim()
    if (directory / "result.json").exists():
        check_finished(directory, identity)
        return directory
    start = time.perf_counter()
    counter = fit_counter(job, run)
    if is_main_process():
        write_result(job, directory, identity, seconds=time.perf_counter() - start, counter=counter)
    barrier()
    return directory


def fit_counter(job: Job, run: TrainingRun) -> Counter:
    """Train the job's counter, or go on where its state was saved; write best.pth, final.pth and validation.json.

    Returns:
        the counter after the last epoch.
    """
    recipe, directory = job.recipe.train, run.directory
    torch.manual_seed(run.seed)
    model = counting_model(job, recipe, CountingModel)
    save = partial(save_checkpoint, job, model.counter, dict(run.identity))
    runner = fit(
        run,
        model,
        job.train_loader(recipe, seed=run.seed),
        recipe.settings(),
        validation={"val_dataloader": job.val_loader(), "val_cfg": {}, "val_evaluator": [CountMetric()]},
        hooks=[
            KeepBest(
                directory / "validation.json",
                best=directory / BEST,
                every=recipe.validate_every,
                save=partial(save, directory / BEST),
            )
        ],
        show_progress=ShowCounting,
    )
    final = directory / FINAL
    run_on_main_process(
        lambda: save_checkpoint(job, trained_counter(job, directory), run.identity, final, epoch=recipe.epochs)
    )
    return unwrap_model(runner.model).counter


def fit_supernet(job: Job, run: TrainingRun, *, validation: Callable[[Counter], dict[str, Any]] | None = None) -> None:
    """Train the job's counter on random paths, or go on where its state was saved, and write `run.output`.

    Args:
        job: whose spec is share-full; the recipe has a section `supernet`.
        run: where it is kept.
        validation: makes that argument of `fit` for the counter.
    """
    recipe = job.recipe.supernet
    torch.manual_seed(run.seed)
    model = counting_model(job, recipe, SupernetCountingModel)
    fit(
        run,
        model,
        job.train_loader(recipe, seed=run.seed),
        recipe.settings(),
        validation=None if validation is None else validation(model.counter),
        hooks=[DrawPaths(seed=run.seed, sandwich=recipe.sandwich)],
        unused_parameters=True,
        show_progress=ShowPaths,
    )
    run_on_main_process(lambda: save_checkpoint(job, trained_counter(job, run.directory), run.identity, run.output))


def counting_model(job: Job, recipe: TrainRecipe, kind: type[Model]) -> Model:
    """The job's counter as an MMEngine model of this kind, in a section's memory format and precision."""
    counter = job.counter()
    if recipe.channels_last:
        counter.to(memory_format=torch.channels_last)
    where = f"{recipe.section}.loss_options"
    return kind(
        counter,
        job.normalize(),
        build(LOSSES[recipe.loss], recipe.loss_options, where=where),
        precision=recipe.precision,
    )


def trained_counter(job: Job, directory: Path) -> Counter:
    """The counter of the last saved state, with the averaged weights if the run used `ema`."""
    weights = read_state(directory / "last.pth")["state_dict"]
    counter = job.spec.build()
    prefix = "counter."
    counter.load_state_dict({name[len(prefix) :]: weights[name] for name in weights if name.startswith(prefix)})
    return counter


def check_finished(directory: Path, identity: Mapping[str, Any]) -> None:
    """Check that the files of a finished run can be read, and are its own.

    Raises:
        EANError: naming the file that cannot be read, or is another run's.
    """
    key, result = run_key(identity), directory / "result.json"
    check_keys([read_result(result).get("run")], key, file=result)
    for name in (BEST, FINAL):
        try:
            _, content = load_counter(directory / name)
            check_keys([run_key(content.get("recipe") or {})], key, file=directory / name)
        except EANError as error:
            raise EANError(f"{directory} is finished according to its result.json, but {error}") from None


def save_checkpoint(
    job: Job,
    counter: Any,
    identity: Mapping[str, Any],
    path: Path,
    epoch: int | None = None,
    metrics: dict[str, Any] | None = None,
) -> None:
    """Write a counter file with all that is needed to use it on other images."""
    info = {"mean": list(job.initial.mean), "std": list(job.initial.std), "recipe": dict(identity)}
    save_counter(path, counter, job.spec, epoch=epoch, validation=metrics, **info)


def write_result(job: Job, directory: Path, identity: dict[str, Any], *, seconds: float, counter: Counter) -> None:
    """Test best.pth and final.pth, and write result.json; all errors of an entry are from the same file."""
    tested = {}
    for name, file in (("best", BEST), ("final", FINAL)):
        rows, content = score_file(directory / file, job.data.test)
        tested[name] = {key: content.get(key) for key in ("epoch", "validation")} | {"test": test_figures(rows)}
        each = {part: [round(abs(row.error), 4) for row in group] for part, group in group_by_part(rows).items()}
        tested[name]["per_image"] = each.get("", each)  # to compare counters image by image
    train, _ = job.split
    write_record(
        directory / "result.json",
        kind="counting",
        settings=identity,
        metrics={
            **tested,
            "always_the_mean": summarize_parts(constant_counts(train, job.data.test)),
            "parameters": count_parameters(counter),
            "seconds": seconds,
        },
        data_note=job.data.note,
        device=get_device(),
        run=run_key(identity),
    )


def constant_counts(train: Sequence[CrowdImage], test: Sequence[CrowdImage]) -> list[ImageErrors]:
    """Errors of always predicting the mean count of a part's training images: the baseline that a counter must beat."""
    parts = dict.fromkeys(image.part for image in test)
    means = {part: statistics.fmean(image.count for image in train if image.part == part) for part in parts}
    return [
        ImageErrors(image.name, image.count, mean, (abs(mean - image.count),) * 4, image.part)
        for image in test
        for mean in (means[image.part],)
    ]


Figure = float | tuple[RangeErrors, ...] | None
Errors = Mapping[str, Figure | Mapping[str, Figure]]
"""What `test_figures` gives: the errors, or those of each of several parts; undefined ones are None. Version 0.1 wrote
no errors by count."""


@dataclass(frozen=True)
class Tested:
    """The errors of one checkpoint on the test images."""

    test: Errors


@dataclass(frozen=True)
class CountingResult:
    """The metrics of a seed's result.json."""

    best: Tested
    final: Tested
    always_the_mean: Errors
    parameters: Count


def read_result(path: Path) -> dict[str, Any]:
    """Read a seed's result.json.

    Raises:
        EANError: if it is damaged.
    """
    record, advice = read_record(path), "move its folder away and train again"
    result = checked(CountingResult, record["metrics"], where=f"record {path}: metrics", advice=advice)
    for name, errors in (("best", result.best.test), ("final", result.final.test), ("", result.always_the_mean)):
        if any(figures.get("mae") is None for figures in by_part(errors).values()):
            raise EANError(f"record {path} is damaged (it has no mae for {name or 'the mean count'}): {advice}")
    if len({tuple(by_part(errors)) for errors in (result.best.test, result.final.test, result.always_the_mean)}) > 1:
        raise EANError(f"record {path} is damaged (its figures are of unlike parts): {advice}")
    return record
