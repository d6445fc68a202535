"""Is the proxy any good? Scores on the supernet against test accuracies of the same schemes trained from scratch.

Efficient Attention Network, section 4.3 (https://arxiv.org/abs/2011.14058), reports Pearson's r of the two. Any number
of processes share a study: each training is taken by one of them, under a lock that ends with its process.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from mmengine.device import get_device

from classification.job import Job
from classification.retrain import Target, finished, make_target, train_network
from classification.supernet import both_sections, make_scorer, train_supernet
from ean_core.io.records import read_record
from ean_core.networks import stages_blocks
from ean_core.networks.checkpoint import load_network
from ean_core.scheme import Scheme
from ean_core.training.run_lock import claim
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of, write_atomic
from ean_core.utils.intervals import FEWEST_PAIRS
from ean_core.utils.startup import PARENT

WAYS = ("running", "re-estimated")
"""Batch-norm statistics of a score: the supernet's own (the paper), or re-estimated for the scheme."""

SCORES = "scores.json"


def draw_schemes(blocks: Sequence[int], count: int, *, seed: int) -> list[Scheme]:
    """Different schemes whose numbers of connections are spread evenly: all on, all off, then the rest.

    Independent fair bits would nearly all have about m / 2 connections, and say little of the range. Of a longer draw
    the first schemes are those of a shorter one, so that a study can be extended.

    Args:
        blocks: blocks per stage.
        count: how many, 2 to 2^m.
        seed: of the bits.

    Raises:
        EANError: if there are not so many.
    """
    m = sum(blocks)
    if not FEWEST_PAIRS <= count <= 2**m:
        raise EANError(f"a study needs {FEWEST_PAIRS} to {2**m} schemes for a network of {m} blocks, got {count}")
    rng = np.random.default_rng(seed)
    drawn = {scheme.text: scheme for scheme in (Scheme.all_on(blocks), Scheme.all_off(blocks))}
    for connections in _spread(m - 1):
        if len(drawn) == count:
            break
        for _ in range(50):  # of a number with few schemes all may be there already; another number comes next
            bits = np.zeros(m, dtype=int)
            bits[rng.permutation(m)[:connections]] = 1
            scheme = Scheme(tuple(bits.tolist()), tuple(blocks))
            if scheme.text not in drawn:
                drawn[scheme.text] = scheme
                break
    return list(drawn.values())


def _spread(top: int) -> Iterator[int]:
    """1 to `top` for ever, every part of the sequence spread over the range (van der Corput's sequence in base 2)."""
    index = 0
    while True:
        index += 1
        digits = f"{index:b}"[::-1]
        yield 1 + int(top * sum(int(bit) / 2 ** (place + 1) for place, bit in enumerate(digits)))


@dataclass(frozen=True)
class Study:
    """What is drawn, scored and trained.

    Attributes:
        job: the recipe; its `train` section is what every scheme is trained with, with all of its `seeds`.
        count: schemes.
        draw_seed: of the schemes.
        images: training images over which batch norm is re-estimated.
    """

    job: Job
    count: int
    draw_seed: int = 0
    images: int = 2000

    @cached_property
    def schemes(self) -> list[Scheme]:
        """As `draw_schemes` gives them."""
        return draw_schemes(stages_blocks(self.job.recipe.model.arch), self.count, seed=self.draw_seed)

    @property
    def directory(self) -> Path:
        """The work directory."""
        return self.job.directory

    @property
    def scores(self) -> Path:
        """The file of the scores, which is there once all the trainings can begin."""
        return self.directory / SCORES

    @property
    def supernet(self) -> Path:
        """Its file."""
        return self.directory / "supernet.pth"

    def target(self, scheme: Scheme) -> Target:
        """The network of a scheme; its label is seen in progress bars only."""
        return make_target(self.job, scheme.text, label=f"scheme {self.schemes.index(scheme) + 1}/{self.count}")

    def place(self, scheme: Scheme, seed: int) -> Path:
        """Where a training's files are."""
        return self.directory / self.target(scheme).directory(seed)

    def lock(self, name: str) -> FileLock:
        """A lock of the study that no other process has while it is held; it ends with the process that holds it."""
        folder = self.directory / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock")


def prepare(study: Study) -> dict[str, list[float]]:
    """Claim the directory, train the supernet and score all schemes, or take what is there.

    Returns:
        way of `WAYS` -> accuracies in percent on the search split's validation images, in the schemes' order.

    Raises:
        EANError: if the directory holds another study, or one that was not to be resumed.
    """
    if rank_and_world()[1] > 1:
        raise EANError(
            "a correlation study trains a network per process, and was started as one run of several: start it "
            "without torchrun and with --workers, or once per GPU with --resume"
        )
    _ = study.schemes  # a number that cannot be drawn is refused before anything is written
    with study.lock("study"):
        claim_study(study)
        # Once the study is this one, whatever part of it was interrupted is gone on with.
        job = dataclasses.replace(study.job, resume=True)
        supernet = train_supernet(job)
        return score_schemes(dataclasses.replace(study, job=job), supernet)


def claim_study(study: Study) -> None:
    """Take the directory for this study; more schemes and more seeds are the same study."""
    recipe = study.job.recipe
    supernet, search = both_sections(study.job)
    identity = {
        "part": "correlation",
        "model": dataclasses.asdict(study.job.spec()),
        "data": study.job.data_identity(),
        "supernet": dataclasses.asdict(supernet),
        "train": dataclasses.asdict(recipe.train),
        "seed": recipe.seed,
        "draw_seed": study.draw_seed,
        "images": study.images,
        "batch": search.bn_batch_size,  # of the re-estimation
        **study.job.starting_weights(),
    }
    # A finished supernet alone, of a search, may be taken for a study as it is: it is checked where it is loaded.
    begun = [study.scores]
    claim(study.directory / "correlation", identity, resume=study.job.resume, begun=begun)


def score_schemes(study: Study, supernet: Path) -> dict[str, list[float]]:
    """Score on the supernet in every way of `WAYS`; scores.json keeps them."""
    path, checksum = study.scores, sha256_of(supernet)
    known = read_scores(path, checksum)
    network, _ = load_network(supernet)
    network = network.to(get_device())
    for way in WAYS:
        unseen = [scheme for scheme in study.schemes if scheme.text not in known[way]]
        if not unseen:
            continue
        search = dataclasses.replace(both_sections(study.job)[1], bn_images=0 if way == "running" else study.images)
        job = dataclasses.replace(study.job, recipe=study.job.recipe.replace(search=search))
        scorer = make_scorer(job, network)
        print(f"scoring {len(unseen)} schemes, batch-norm statistics {way}", flush=True)
        for scheme in unseen:
            known[way][scheme.text] = scorer([scheme])[0].accuracy
            write_atomic(path, json.dumps({"supernet_sha256": checksum, **known}, indent=1) + "\n")
    return {way: [known[way][scheme.text] for scheme in study.schemes] for way in WAYS}


def read_scores(path: Path, supernet_sha256: str) -> dict[str, dict[str, float]]:
    """way -> bits -> accuracy; empty for a file of another supernet, or none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["supernet_sha256"] == supernet_sha256:
            return {way: dict(content[way]) for way in WAYS}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it costs minutes to make again
    return {way: {} for way in WAYS}


def count_scored(directory: Path) -> int:
    """How many schemes a study has scored.

    Raises:
        EANError: if there is no study.
    """
    try:
        return len(json.loads((directory / SCORES).read_text(encoding="utf-8"))[WAYS[-1]])
    except (OSError, ValueError, KeyError, TypeError):
        raise EANError(f"{directory} holds no study to report on: leave out --report, or give its --work-dir") from None


def train_open(study: Study) -> Iterator[Path]:
    """Train what nobody has trained or is training, seed by seed in the schemes' order; yields each directory.

    Seed by seed, so that a study that is stopped early has as many schemes as it could have.
    """
    job = dataclasses.replace(study.job, resume=True)
    for seed in job.recipe.seeds:
        for scheme in study.schemes:
            place = study.place(scheme, seed)
            if finished(place):
                continue
            try:
                with study.lock(place.name).acquire(timeout=0):
                    if finished(place):  # by another process, since we looked
                        continue
                    train_network(job, study.target(scheme), seed=seed)
            except Timeout:
                continue
            yield place


def visible_gpus(given: str | None, count: int) -> list[str]:
    """What the driver calls the `count` GPUs of this process, which may have been `given` some of the machine's."""
    return [one.strip() for one in given.split(",")][:count] if given else [str(number) for number in range(count)]


@contextmanager
def start_workers(count: int, *, directory: Path) -> Iterator[None]:
    """This very command `count` times more, each with its log in `directory`; they have ended when the block has.

    All of them share the processor's threads, since processes whose threads wait for each other are many times slower.

    Raises:
        EANError: naming its log, if one of them fails.
    """
    command = [sys.executable, *sys.argv, "--workers", "1", "--resume"]  # the last of two equal flags counts
    devices = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    threads = max(1, torch.get_num_threads() // (count + 1))
    with ExitStack() as stack:
        if count:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        started = []
        for number in range(1, count + 1):
            log = directory / f"worker{number}.log"
            device = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if len(devices) > 1 else {}
            file = stack.enter_context(log.open("w"))
            own = {"OMP_NUM_THREADS": str(threads), PARENT: str(os.getpid())}  # it ends when this process is killed
            environment = {**os.environ, **own, **device}
            one = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
            started.append((one, log))
            stack.callback(one.wait)
            stack.callback(one.terminate)
        yield
        for one, log in started:
            if one.wait():
                raise EANError(f"a worker ended with exit status {one.returncode}: {log} says why; --resume goes on")


def trained_accuracies(study: Study) -> list[list[float]]:
    """Test accuracies in percent of each scheme, one per finished seed, in the schemes' order.

    Raises:
        EANError: if a network that is there was trained with other settings.
    """
    found = []
    for scheme in study.schemes:
        places = [(seed, study.place(scheme, seed)) for seed in study.job.recipe.seeds]
        done = [
            train_network(study.job, study.target(scheme), seed=seed)  # only checks its settings: it is finished
            for seed, place in places
            if finished(place)
        ]
        found.append([float(read_record(place / "result.json")["metrics"]["top1"]) for place in done])
    return found
