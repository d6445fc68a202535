"""A correlation study: draw schemes, and score them on the supernet in two ways.

Efficient Attention Network, section 4.3 (https://arxiv.org/abs/2011.14058), reports Pearson's r of the scores and the
test accuracies of the same schemes trained from scratch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from filelock import FileLock

from ean_core.io.json_file import read_json
from ean_core.io.typed import WrongValueError, convert
from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import Target, make_target
from ean_core.pipeline.supernet import train_supernet
from ean_core.scheme import Scheme
from ean_core.training.run_lock import claim
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of, write_atomic
from ean_core.utils.intervals import FEWEST_PAIRS

WAYS = ("running", "re-estimated")
"""Batch-norm statistics of a score: the supernet's own (the paper), or calibrated for the scheme. Files hold these
words."""

COUNT = "connections"
"""A third proxy besides the two scores: one that orders schemes no better than their number of connections is none."""

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
        for _ in range(50):  # all schemes of a number with few may be drawn already; another number comes next
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
        yield 1 + int(top * sum(int(bit) / 2 ** (position + 1) for position, bit in enumerate(digits)))


@dataclass(frozen=True)
class Study:
    """What is drawn, scored and trained.

    Attributes:
        job: the recipe; its `train` section is what every scheme is trained with, with all of its `seeds`.
        count: schemes.
        draw_seed: of the schemes.
        images: training images over which batch norm is calibrated.
    """

    job: Job
    count: int
    draw_seed: int = 0
    images: int = 2000

    @cached_property
    def schemes(self) -> list[Scheme]:
        """The schemes of the study, all on and all off first; see `draw_schemes`."""
        return draw_schemes(self.job.task.blocks(), self.count, seed=self.draw_seed)

    @property
    def directory(self) -> Path:
        """The work directory."""
        return self.job.directory

    @property
    def scores(self) -> Path:
        """The file of the scores, which exists once all the trainings can begin."""
        return self.directory / SCORES

    @property
    def supernet(self) -> Path:
        """The supernet's file."""
        return self.directory / "supernet.pth"

    def target(self, scheme: Scheme) -> Target:
        """The network of a scheme; its label is seen in progress bars only."""
        return make_target(self.job, scheme.text, label=f"scheme {self.schemes.index(scheme) + 1}/{self.count}")

    def training_directory(self, scheme: Scheme, seed: int) -> Path:
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
        way of `WAYS` -> scores in percent on the validation images, in the schemes' order.

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
    identity = {
        "part": "correlation",
        "model": dataclasses.asdict(study.job.task.spec()),
        "data": dict(study.job.task.dataset().fingerprint),
        "supernet": dataclasses.asdict(study.job.supernet),
        "train": dataclasses.asdict(recipe.train),
        "seed": recipe.seed,
        "draw_seed": study.draw_seed,
        "images": study.images,
        "batch": study.job.search.bn_batch_size,  # of the calibration
        **study.job.task.starting_weights(),
    }
    # A finished supernet alone, of a search, may be taken for a study as it is: it is checked where it is loaded.
    begun = [study.scores]
    work_dir = study.job.work_dir(shared=True)
    claim(study.directory / "correlation", identity, resume=study.job.resume, begun=begun, work_dir=work_dir)


def score_schemes(study: Study, supernet: Path) -> dict[str, list[float]]:
    """Score on the supernet in every way of `WAYS`; scores.json keeps the scores.

    Returns:
        way -> scores in percent, in the schemes' order.
    """
    path, checksum = study.scores, sha256_of(supernet)
    scores = read_scores(path, checksum)
    network = study.job.task.load_supernet(supernet)
    for way in WAYS:
        unseen = [scheme for scheme in study.schemes if scheme.text not in scores[way]]
        if not unseen:
            continue
        bn_images = 0 if way == "running" else study.images
        job = study.job.replace_recipe(search=dataclasses.replace(study.job.search, bn_images=bn_images))
        scorer = job.task.make_scorer(network)
        print(f"scoring {len(unseen)} schemes, batch-norm statistics {way}", flush=True)
        for scheme in unseen:
            scores[way][scheme.text] = scorer([scheme])[0]
            write_atomic(path, json.dumps({"supernet_sha256": checksum, **scores}, indent=1) + "\n")
    return {way: [scores[way][scheme.text] for scheme in study.schemes] for way in WAYS}


def read_scores(path: Path, supernet_sha256: str) -> dict[str, dict[str, float]]:
    """way -> bits -> score; empty for a file of another supernet, or none."""
    try:
        content = read_json(path, advice="")
        if content["supernet_sha256"] == supernet_sha256:
            return {way: convert(content[way], dict[str, float], way) for way in WAYS}
    except (EANError, KeyError, TypeError, WrongValueError):
        pass  # it costs minutes to make again
    return {way: {} for way in WAYS}


def count_scored(directory: Path) -> int:
    """How many schemes a study has scored.

    Raises:
        EANError: if there is no study.
    """
    try:
        return len(read_json(directory / SCORES, advice="")[WAYS[-1]])
    except (EANError, KeyError, TypeError):
        raise EANError(f"{directory} holds no study to report on: leave out --report, or give its --work-dir") from None
