"""Train a counter, keep the best on the validation images and the last, and test both."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from crowd_counting.data.points import CrowdImage
from crowd_counting.evaluation import score_file
from crowd_counting.hooks import KeepBest, ShowCounting
from crowd_counting.job import Job
from crowd_counting.metrics import CountErrors, ImageErrors, summarize_errors
from crowd_counting.model.losses import LOSSES
from crowd_counting.model.network import Counter
from crowd_counting.model.pretrained import load_counter, save_counter
from crowd_counting.model.training_model import CountingModel
from ean_core.io.records import processes_of, read_record, spread, write_record
from ean_core.networks import count_parameters
from ean_core.training.hooks import unwrap_model
from ean_core.training.runner import build_runner
from ean_core.training.state import read_state
from ean_core.training.work_dir import claim
from ean_core.utils.checked_dataclasses import Count, build, checked
from ean_core.utils.distributed import barrier, is_main_process
from ean_core.utils.errors import EANError, batch_of
from ean_core.utils.progress import bar

BEST, FINAL = "best.pth", "final.pth"


def train_counter(job: Job, *, seed: int) -> Path:
    """Train with one seed, and write best.pth, final.pth, validation.json and result.json.

    Returns:
        the seed's directory. If it already has a result.json, nothing is trained.
    """
    directory, recipe = job.directory / f"seed{seed}", job.recipe.train
    identity = job.identity(seed=seed)
    begun = [directory / name for name in ("last.pth", "result.json", BEST, FINAL)]
    claim(directory, identity, resume=job.resume, begun=begun, work_dir=job.work_dir())
    if (directory / "result.json").exists():
        check_finished(directory)
        return directory
    torch.manual_seed(seed)
    counter = job.counter()
    if recipe.channels_last:
        counter.to(memory_format=torch.channels_last)
    loss = build(LOSSES[recipe.loss], recipe.loss_options, where="train.loss_options")
    model = CountingModel(counter, job.normalize(), loss, precision=recipe.precision)
    loader = job.train_loader(seed=seed)
    save = partial(save_checkpoint, job, counter, identity)
    start = time.perf_counter()
    with bar(f"seed {seed}", recipe.epochs * len(loader), show=is_main_process()) as progress:
        keep_best = KeepBest(
            directory / "validation.json", every=recipe.validate_every, save=partial(save, directory / BEST)
        )
        runner = build_runner(
            model,
            loader,
            recipe.settings(),
            work_dir=directory,
            seed=seed,
            launcher=job.launcher,
            validation={"val_dataloader": job.val_loader(), "val_cfg": {}, "val_evaluator": [CountErrors()]},
            hooks=[ShowCounting(progress), keep_best],
            resume=job.resume,
            backends=job.backends,
        )
        with batch_of(recipe.batch_size, option="--cfg-options train.batch_size"):
            runner.train()
    if is_main_process():
        save_checkpoint(job, trained_counter(job, directory), identity, directory / FINAL, recipe.epochs, None)
        write_result(
            job, directory, identity, seconds=time.perf_counter() - start, counter=unwrap_model(runner.model).counter
        )
    barrier()
    return directory


def trained_counter(job: Job, directory: Path) -> Counter:
    """The counter of the last saved state, with the averaged weights if the run used `ema`."""
    weights = read_state(directory / "last.pth")["state_dict"]
    counter = job.spec.build()
    prefix = "counter."
    counter.load_state_dict({name[len(prefix) :]: weights[name] for name in weights if name.startswith(prefix)})
    return counter


def check_finished(directory: Path) -> None:
    """Check that the files of a finished run can be read.

    Raises:
        EANError: naming the file that cannot be read.
    """
    read_result(directory / "result.json")
    for name in (BEST, FINAL):
        try:
            load_counter(directory / name)
        except EANError as error:
            raise EANError(f"{directory} is finished according to its result.json, but {error}") from None


def save_checkpoint(
    job: Job, counter: Any, identity: dict[str, Any], path: Path, epoch: int, metrics: dict[str, Any] | None
) -> None:
    """Write a counter file with all that is needed to use it on other images."""
    info = {"mean": list(job.initial.mean), "std": list(job.initial.std), "recipe": identity}
    save_counter(path, counter, job.spec, epoch=epoch, validation=metrics, **info)


def write_result(job: Job, directory: Path, identity: dict[str, Any], *, seconds: float, counter: Any) -> None:
    """Test best.pth and final.pth, and write result.json; all errors of an entry are from the same file."""
    tested = {}
    for name, file in (("best", BEST), ("final", FINAL)):
        rows, content = score_file(directory / file, job.data.test)
        tested[name] = {key: content.get(key) for key in ("epoch", "validation")} | {"test": summarize_errors(rows)}
    train, _ = job.split
    write_record(
        directory / "result.json",
        kind="counting",
        settings=identity,
        metrics={
            **tested,
            "always_the_mean": summarize_errors(constant_counts(train, job.data.test)),
            "parameters": count_parameters(counter),
            "seconds": seconds,
        },
        data_note=job.data.note,
        device=get_device(),
    )


def constant_counts(train: Sequence[CrowdImage], test: Sequence[CrowdImage]) -> list[ImageErrors]:
    """Errors of always predicting the training images' mean count: the baseline that a counter must beat."""
    mean = statistics.fmean(image.count for image in train)
    return [ImageErrors(image.name, image.count, mean, (abs(mean - image.count),) * 4) for image in test]


@dataclass(frozen=True)
class Tested:
    """The errors of one checkpoint on the test images; undefined ones are None."""

    test: Mapping[str, float | None]


@dataclass(frozen=True)
class CountingResult:
    """The metrics of a seed's result.json."""

    best: Tested
    final: Tested
    always_the_mean: Mapping[str, float | None]
    parameters: Count


def read_result(path: Path) -> dict[str, Any]:
    """Read a seed's result.json.

    Raises:
        EANError: if it is damaged.
    """
    record, advice = read_record(path), "move its folder away and train again"
    result = checked(CountingResult, record["metrics"], where=f"record {path}: metrics", advice=advice)
    for name, errors in (("best", result.best.test), ("final", result.final.test), ("", result.always_the_mean)):
        if errors.get("mae") is None:
            raise EANError(f"record {path} is damaged (it has no mae for {name or 'the mean count'}): {advice}")
    return record


def summarize_seeds(job: Job, directories: Sequence[Path]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds; also written to summary.json.

    Returns:
        {"best" or "final": {"mae", "rmse", ..: {"n", "mean", "std", "values"}}, ..}.
    """
    records = [read_result(path / "result.json") for path in directories]
    metrics: dict[str, Any] = {}
    for name in ("best", "final"):
        tests = [record["metrics"][name]["test"] for record in records]
        metrics[name] = {
            key: spread([errors[key] for errors in tests])
            for key in tests[0]
            if all(errors.get(key) is not None for errors in tests)
        }
    metrics["processes"] = [count for path in directories if (count := processes_of(path)) is not None]
    metrics["always_the_mean"] = {"mae": records[0]["metrics"]["always_the_mean"]["mae"]}
    metrics["parameters"] = records[0]["metrics"]["parameters"]
    settings = {key: value for key, value in records[0]["settings"].items() if key != "seed"}
    write_record(
        job.directory / "summary.json",
        kind="counting",
        settings={**settings, "seeds": [record["settings"]["seed"] for record in records]},
        metrics=metrics,
        data_note=job.data.note,
        recipe=dataclasses.asdict(job.recipe),
    )
    return metrics
