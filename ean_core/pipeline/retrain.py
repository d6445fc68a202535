"""Third part of the pipeline: train a network of fixed connections from scratch, and test it."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ean_core.io.records import read_record, write_record
from ean_core.io.safe_load import load_tensors
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.pipeline.estimate import announce_networks
from ean_core.pipeline.job import Job
from ean_core.pipeline.search import scheme_of
from ean_core.pipeline.task import Task
from ean_core.scheme import MODES, Scheme, scheme_file
from ean_core.training.run_key import check_keys, run_key
from ean_core.training.step_timing import Pace
from ean_core.training.work_dir import check_same, read_claim
from ean_core.utils.checked_dataclasses import Percent, WrongValueError, convert
from ean_core.utils.distributed import run_on_main_process
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Target:
    """A network to train.

    Attributes:
        label: names its row: "org", "org-full", "share-full", "ean", or "ean-" and a file's name.
        spec: builds it.
        scheme: its connections.
    """

    label: str
    spec: TrunkSpec
    scheme: Scheme

    def directory(self, seed: int) -> str:
        """Name of a seed's directory: by mode, or for a scheme by a hash of its bits.

        The hash is short. Should two schemes of a study share one, the directory's claim refuses the second.
        """
        if self.label in MODES:
            return f"{self.label}-seed{seed}"
        return f"ean-{self.digest}-seed{seed}"

    @property
    def digest(self) -> str:
        """A short name of the scheme."""
        return sha256(self.scheme.text.encode()).hexdigest()[:6]


def make_target(job: Job, value: str, *, label: str | None = None) -> Target:
    """The network that `--scheme` names.

    Args:
        job: whose recipe names the network.
        value: "org", "org-full", "share-full", bits, a scheme.json, or the name of a shipped scheme.
        label: of the row; default the mode, "ean-" and the name for a file, the bits themselves for bits.
    """
    blocks = job.task.blocks()
    if value == "org":
        return Target("org", job.task.spec(attention=None, attention_options={}), Scheme.all_off(blocks))
    if value in ("org-full", "share-full"):
        sharing = "block" if value == "org-full" else "stage"
        return Target(value, job.task.spec(sharing=sharing), Scheme.all_on(blocks))
    scheme = scheme_of(value, blocks, job.recipe.model.attention)
    file = scheme_file(value)
    default = scheme.text if file is None else file.stem
    return Target(label or f"ean-{default}", job.task.spec(scheme=scheme.text), scheme)


def make_targets(job: Job, values: Sequence[str]) -> list[Target]:
    """The networks that several `--scheme` name; files of one name get labels that tell them apart."""
    targets = [make_target(job, value) for value in values]
    labels = [target.label for target in targets]
    repeated = {label for label in labels if labels.count(label) > 1}
    return [
        dataclasses.replace(target, label=f"{target.label}-{target.digest}") if target.label in repeated else target
        for target in targets
    ]


def train_network(job: Job, target: Target, *, seed: int, on_pace: Callable[[Pace], None] | None = None) -> Path:
    """Train a network on all the recipe's training images, test it, and write its network file and result.json.

    Args:
        job: the run.
        target: the network.
        seed: of its weights, the images' order and augmentation.
        on_pace: called once when the first few steps have been timed; not for a run that is there already.

    Returns:
        its directory. A run that is there already, finished and with the same settings, is taken as it is.

    Raises:
        EANError: if the directory holds an unfinished run and the job does not resume, or one with other settings.
    """
    identity, directory = network_identity(job, target, seed=seed), job.directory / target.directory(seed)
    if finished(directory, job.task):
        job.task.load_network(directory / job.task.network_file)  # a damaged one does not count as finished
        check_trained(directory, identity, job.task)
        return directory
    run = job.training_run(
        f"{target.label} seed {seed}",
        section="train",
        directory=directory,
        output=directory / job.task.network_file,
        identity=identity,
        seed=seed,
        on_pace=on_pace,
    )
    start = time.perf_counter()
    trained = job.task.train_network(run, target.spec)
    result = {
        **trained.metrics,
        "parameters": trained.parameters,
        "connections": target.scheme.connections,
        "scheme": str(target.scheme),
        "seconds": time.perf_counter() - start,
        **({} if trained.per_image is None else {"per_image": pack_results(trained.per_image)}),
    }
    settings = {"recipe": job.recipe.name, **identity}
    run_on_main_process(
        lambda: write_record(
            directory / "result.json", kind="train", settings=settings, metrics=result, run=run_key(identity)
        )
    )
    return directory


def pack_results(values: np.ndarray) -> dict[str, Any] | list[float]:
    """Results (N,) of the test images for a record: eight to a byte and base64 for bool, else the numbers."""
    if values.dtype != bool:
        return [float(value) for value in values]
    return {"images": len(values), "right": base64.b64encode(np.packbits(values).tobytes()).decode()}


def unpack_results(packed: Mapping[str, Any] | Sequence[float] | None) -> np.ndarray | None:
    """What `pack_results` packed; None for nothing.

    Raises:
        WrongValueError, KeyError, TypeError, ValueError: for what it cannot have packed.
    """
    if packed is None:
        return None
    if not isinstance(packed, Mapping):
        return np.asarray(convert(packed, list[float], "per_image"), dtype=float)
    bits = np.frombuffer(base64.b64decode(packed["right"], validate=True), dtype=np.uint8)
    if len(bits) != -(-packed["images"] // 8):
        raise ValueError(f"per_image holds {len(bits)} bytes for {packed['images']} images")
    return np.unpackbits(bits, count=packed["images"]).astype(bool)


def network_identity(job: Job, target: Target, *, seed: int) -> dict[str, Any]:
    """What a trained network depends on; the search's share of the images is not part of it."""
    dataset = job.task.dataset()
    return {
        "part": "network",
        "model": dataclasses.asdict(target.spec),
        "data": {name: value for name, value in dataset.fingerprint.items() if name not in dataset.search_only},
        "train": dataclasses.asdict(job.recipe.train),
        "seed": seed,
        **job.task.starting_weights(),
    }


def check_trained(directory: Path, identity: Mapping[str, Any], task: Task) -> None:
    """Make sure that a finished training, its record and its network are those of an identity.

    Raises:
        EANError: naming the setting or the file that is another training's.
    """
    check_same(read_claim(directory / "run.json"), identity, what=f"{directory} holds a network trained with")
    record, network = directory / "result.json", directory / task.network_file
    check_keys([read_record(record).get("run")], run_key(identity), file=record)
    content = load_tensors(network)
    recipe = content.get("recipe") if isinstance(content, Mapping) else None
    check_keys([run_key(recipe or {})], run_key(identity), file=network)


def finished(directory: Path, task: Task) -> bool:
    """Whether a training got to its end: result.json is written last, and a damaged one counts as none."""
    try:
        read_result(directory / "result.json", task)
    except EANError:
        return False
    return (directory / task.network_file).exists()


@dataclass(frozen=True)
class TrainingResult:
    """What a result.json says of a trained network's tests.

    Attributes:
        metrics: key of each of the task's metrics -> its value after the last epoch.
        best_epoch: the first metric in the best test epoch; None if the test was not taken during training.
        per_image: of the test images, see `TrainedNetwork`; None where they were not kept.
    """

    metrics: Mapping[str, float]
    best_epoch: float | None = None
    per_image: np.ndarray | None = None


def read_result(path: Path, task: Task) -> TrainingResult:
    """The test results of a trained network's record.

    Raises:
        EANError: if the record is damaged, or one of another kind of run.
    """
    record, advice = read_record(path), "move its folder away and train the network again"
    if record["kind"] != "train":
        raise EANError(f"{path} is a record of kind {record['kind']!r}, where a trained network's was expected")
    kinds = {metric.key: Percent if metric.proportion else float for metric in task.metrics}
    first = task.metrics[0].key
    try:
        content = convert(record["metrics"], Mapping[str, Any], "metrics")
        metrics = {key: convert(content.get(key), kind, key) for key, kind in kinds.items()}
        best = convert(content.get("best_test_epoch"), Mapping[str, Any] | None, "best_test_epoch")
        best_epoch = None if best is None else convert(best.get(first), kinds[first], f"best_test_epoch.{first}")
        per_image = unpack_results(content.get("per_image"))
    except (WrongValueError, KeyError, TypeError, ValueError) as error:
        raise EANError(f"record {path} is damaged ({error}): {advice}") from None
    return TrainingResult(metrics, best_epoch, per_image)


@dataclass(frozen=True)
class TrainedTarget:
    """A target trained with several seeds.

    Attributes:
        target: what was trained.
        task: that it was trained for.
        seeds: of the trainings.
        directories: one per seed, in the order of `seeds`.
        results: key of each of the task's metrics -> one value per seed after the last epoch, in the order of `seeds`.
        per_image: the test images' results of each seed (`TrainedNetwork.per_image`); None where they were not kept.
        best_epoch: the first metric in each seed's best test epoch, where the test was taken during training; nothing
            is chosen by it.
    """

    target: Target
    task: Task
    seeds: tuple[int, ...]
    directories: tuple[Path, ...]
    results: Mapping[str, tuple[float, ...]]
    per_image: tuple[np.ndarray | None, ...]
    best_epoch: tuple[float, ...] | None = None

    @property
    def files(self) -> list[Path]:
        """The network files, one per seed."""
        return [directory / self.task.network_file for directory in self.directories]

    @cached_property
    def network(self) -> nn.Module:
        """The network of the first seed, read from its file once."""
        return self.task.load_network(self.files[0])


def train_all(job: Job, targets: Sequence[Target], seeds: Sequence[int]) -> list[TrainedTarget]:
    """Train every target with every seed, seed by seed, so that an early stop leaves a fair comparison.

    Raises:
        EANError: if two targets or two seeds are the same: they would be one run counted twice.
    """
    labels, directories_of = [target.label for target in targets], [target.directory(0) for target in targets]
    for what, names in (("networks", directories_of), ("networks", labels), ("seeds", list(seeds))):
        if len(set(names)) < len(names):
            raise EANError(f"the {what} to train are not all different ({', '.join(map(str, names))}): give each once")
    runs = [(seed, target) for seed in seeds for target in targets]
    done = [finished(job.directory / target.directory(seed), job.task) for seed, target in runs]
    estimate = announce_networks(done.count(False))
    directories: dict[str, list[Path]] = {target.label: [] for target in targets}
    for (seed, target), is_finished in zip(runs, done, strict=True):
        directories[target.label].append(train_network(job, target, seed=seed, on_pace=estimate))
        estimate = estimate if is_finished else None  # said once
    return [read_results(job.task, target, seeds, directories[target.label]) for target in targets]


def read_results(task: Task, target: Target, seeds: Sequence[int], directories: Sequence[Path]) -> TrainedTarget:
    """The test results that finished trainings wrote."""
    read = [read_result(directory / "result.json", task) for directory in directories]
    results = {metric.key: tuple(result.metrics[metric.key] for result in read) for metric in task.metrics}
    best = tuple(result.best_epoch for result in read if result.best_epoch is not None)
    best_epoch = best if len(best) == len(read) else None
    per_image = tuple(result.per_image for result in read)
    return TrainedTarget(target, task, tuple(seeds), tuple(directories), results, per_image, best_epoch)
