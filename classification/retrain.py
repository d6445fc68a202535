"""Third part of the pipeline: train a network of fixed connections from scratch, and test it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from classification.fit import as_model, fit
from classification.job import Job
from classification.search import scheme_of
from ean_core.io.records import write_record
from ean_core.io.results import read_trained
from ean_core.networks import StagedNetwork, count_parameters, stages_blocks
from ean_core.networks.checkpoint import ModelSpec, load_network, read_network_file
from ean_core.scheme import Scheme
from ean_core.training.classifier import ImageClassifier
from ean_core.training.epoch_log import LogTestAccuracy, best_test_epoch
from ean_core.training.metrics import Confusion
from ean_core.training.run_lock import check_same, claim, read_claim
from ean_core.training.state import save_state_as_network
from ean_core.utils.distributed import first_does
from ean_core.utils.errors import EANError

MODES = ("org", "org-full", "share-full")
TEST_LOG = "test_epochs.jsonl"
"""Test accuracies during training, beside a network's other files."""


@dataclass(frozen=True)
class Target:
    """A network to train.

    Attributes:
        label: names its row: "org", "org-full", "share-full", "ean", or "ean-" and a file's name.
        spec: builds it.
        scheme: its connections.
    """

    label: str
    spec: ModelSpec
    scheme: Scheme

    def directory(self, seed: int) -> str:
        """Where a seed's run goes: by mode, or for a scheme by its bits, so that no two schemes share a place."""
        if self.label in MODES:
            return f"{self.label}-seed{seed}"
        return f"ean-{sha256(self.scheme.text.encode()).hexdigest()[:6]}-seed{seed}"


def make_target(job: Job, value: str, *, label: str | None = None) -> Target:
    """The network that `--scheme` names.

    Args:
        job: for classes and channels.
        value: "org", "org-full", "share-full", bits, or a scheme.json.
        label: of the row; default the mode, "ean-" and the name for a file, the bits themselves for bits.
    """
    blocks = stages_blocks(job.recipe.model.arch)
    if value == "org":
        return Target("org", job.spec(attention=None, attention_options={}), Scheme.all_off(blocks))
    if value in ("org-full", "share-full"):
        sharing = "block" if value == "org-full" else "stage"
        return Target(value, job.spec(sharing=sharing), Scheme.all_on(blocks))
    scheme = scheme_of(value, blocks, job.recipe.model.attention)
    default = Path(value).stem if value.endswith(".json") else scheme.text
    return Target(label or f"ean-{default}", job.spec(scheme=scheme.text, pruned=True), scheme)


def train_network(job: Job, target: Target, *, seed: int) -> Path:
    """Train a network on all the recipe's training images, test it, and write classifier.pth and result.json.

    Returns:
        its directory. A run that is there already, finished and with the same settings, is taken as it is.

    Raises:
        EANError: if the directory holds an unfinished run and the job does not resume, or one with other settings.
    """
    settings, identity = job.recipe.train, network_identity(job, target, seed=seed)
    directory = job.directory / target.directory(seed)
    if finished(directory):
        check_same(read_claim(directory / "run.json"), identity, what=f"{directory} holds a network trained with")
        read_network_file(directory / "classifier.pth")  # a damaged one is no finished run
        return directory
    torch.manual_seed(seed)
    network = job.build(target.spec)
    model = as_model(ImageClassifier, network, settings, job)
    if settings.compile:
        network.compile()
    loader = job.train_loader(job.training_images(), settings, seed=seed)
    start = time.perf_counter()
    same = {name: value for name, value in identity.items() if name not in ("part", "model", "seed")}
    begun = [directory / name for name in ("last.pth", "classifier.pth", "result.json")]
    claim(directory, identity, resume=job.resume, begun=begun, work_dir=job.work_dir(settings=same))
    runner = fit(
        job,
        model,
        loader,
        settings,
        name=f"{target.label} {seed}",
        directory=directory,
        seed=seed,
        validation={
            "val_dataloader": job.eval_loader(job.data.test, None, batch_size=500, shared=True),
            "val_cfg": {},
            "val_evaluator": [Confusion(job.data.num_classes)],
        },
        hooks=[LogTestAccuracy(directory / TEST_LOG)],
    )
    metrics = runner.val_loop.run()
    result = {
        **metrics,
        "best_test_epoch": best_test_epoch(directory / TEST_LOG),
        "parameters": count_parameters(network),
        "connections": target.scheme.connections,
        "scheme": str(target.scheme),
        "seconds": time.perf_counter() - start,
    }

    def save() -> None:
        info = {**job.info(), "recipe": identity, "metrics": metrics}
        save_state_as_network(directory / "last.pth", directory / "classifier.pth", target.spec, **info)
        settings_of_run = {"recipe": job.recipe.name, **identity}
        write_record(directory / "result.json", kind="train", settings=settings_of_run, metrics=result)

    first_does(save)
    return directory


def network_identity(job: Job, target: Target, *, seed: int) -> dict[str, Any]:
    """What a trained network depends on; the search's share of the images is none of it."""
    data = {name: value for name, value in job.data_identity().items() if name not in ("val_per_class", "val_fraction")}
    return {
        "part": "network",
        "model": dataclasses.asdict(target.spec),
        "data": data,
        "train": dataclasses.asdict(job.recipe.train),
        "seed": seed,
        **job.starting_weights(),
    }


def finished(directory: Path) -> bool:
    """Whether a run got to its end: result.json is written last, and a damaged one is as good as none."""
    try:
        read_trained(directory / "result.json")
    except EANError:
        return False
    return (directory / "classifier.pth").exists()


@dataclass(frozen=True)
class Trained:
    """A target trained with several seeds.

    Attributes:
        target: what was trained.
        directories: one per seed.
        top1, top5: test accuracies in percent, one per seed, after the last epoch.
        best_epoch_top1: top-1 of each seed's best test epoch, where the test was taken during training; nothing is
            chosen by it.
    """

    target: Target
    directories: tuple[Path, ...]
    top1: tuple[float, ...]
    top5: tuple[float, ...]
    best_epoch_top1: tuple[float, ...] | None = None

    @cached_property
    def network(self) -> StagedNetwork:
        """The network of the first seed, read from its file once."""
        return load_network(self.directories[0] / "classifier.pth")[0]


def train_all(job: Job, targets: Sequence[Target], seeds: Sequence[int]) -> list[Trained]:
    """Train every target with every seed, seed by seed, so that an early stop leaves a fair comparison.

    Raises:
        EANError: if two targets or two seeds are the same: they would be one run counted twice.
    """
    for what, names in (("networks", [target.directory(0) for target in targets]), ("seeds", list(seeds))):
        if len(set(names)) < len(names):
            raise EANError(f"the {what} to train are not all different ({', '.join(map(str, names))}): give each once")
    directories: dict[str, list[Path]] = {target.label: [] for target in targets}
    for seed in seeds:
        for target in targets:
            directories[target.label].append(train_network(job, target, seed=seed))
    trained = []
    for target in targets:
        records = [read_trained(path / "result.json") for path in directories[target.label]]
        best = [record.best_test_epoch.top1 for record in records if record.best_test_epoch]
        trained.append(
            Trained(
                target,
                tuple(directories[target.label]),
                tuple(record.top1 for record in records),
                tuple(record.top5 for record in records),
                tuple(best) if len(best) == len(records) else None,
            )
        )
    return trained
