"""A correlation study: which schemes, and their scores on the supernet in two ways.

Efficient Attention Network, section 4.3 (https://arxiv.org/abs/2011.14058), reports Pearson's r of the scores and the
test accuracies of the same schemes trained from scratch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from ean_core.io.json_file import read_json
from ean_core.pipeline.correlation.selection import SPREAD, Groups
from ean_core.pipeline.job import Job
from ean_core.pipeline.retrain import Target, make_target
from ean_core.pipeline.shared_trainings import lock_of, refuse_launcher
from ean_core.pipeline.supernet import train_supernet
from ean_core.scheme import Scheme
from ean_core.training.work_dir import claim
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.distributed import is_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of, write_atomic
from ean_core.utils.progress import bar

WAYS = ("running", "re-estimated")
"""Batch-norm statistics of a score: the supernet's own (the paper), or calibrated for the scheme. Files hold these
words."""

COUNT = "connections"
"""A third proxy besides the two scores: one that orders schemes no better than their number of connections is none."""

SCORES = "scores.json"


@dataclass(frozen=True)
class Study:
    """What is drawn, scored and trained.

    Attributes:
        job: the recipe; its `train` section is what every scheme is trained with, with all of its `seeds`.
        groups: name -> schemes, as `choose_schemes` gives them; a scheme may be in several.
        draw_seed: of the schemes.
        images: training images over which batch norm is calibrated.
    """

    job: Job
    groups: Groups
    draw_seed: int = 0
    images: int = 2000

    @cached_property
    def schemes(self) -> list[Scheme]:
        """The different schemes of all groups, in their order."""
        return list({scheme.text: scheme for group in self.groups.values() for scheme in group}.values())

    @property
    def directory(self) -> Path:
        """The work directory, which the study's processes share."""
        return self.job.directory

    @property
    def scores(self) -> Path:
        """The file of the scores, which exists once all the trainings can begin."""
        return self.directory / SCORES

    @property
    def supernet(self) -> Path:
        """Path of the supernet that scores the schemes."""
        return self.directory / "supernet.pth"

    def target(self, scheme: Scheme) -> Target:
        """The network of a scheme; its label is seen in progress bars only."""
        return make_target(self.job, scheme.text, label=f"scheme {self.schemes.index(scheme) + 1}/{len(self.schemes)}")

    def training_directory(self, scheme: Scheme, seed: int) -> Path:
        """Where a training's files are."""
        return self.directory / self.target(scheme).directory(seed)


def prepare(study: Study) -> dict[str, list[float]]:
    """Claim the directory, train the supernet and score all schemes, or take what is there.

    Returns:
        way of `WAYS` -> scores in percent on the validation images, in the schemes' order.

    Raises:
        EANError: if the directory holds another study, or one that was not to be resumed.
    """
    refuse_launcher()
    with lock_of(study.job, "study"):
        claim_study(study)
        # Once the study is this one, whatever part of it was interrupted is resumed.
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
        # In the order in which neighbors share most of their first blocks, whose outputs are cached.
        unseen = sorted((scheme for scheme in study.schemes if scheme.text not in scores[way]), key=attrgetter("text"))
        if not unseen:
            continue
        bn_images = 0 if way == "running" else study.images
        job = study.job.replace_recipe(search=dataclasses.replace(study.job.search, bn_images=bn_images))
        scorer = job.task.make_scorer(network)
        with bar(f"scores, BN statistics {way}", len(unseen), show=is_main_process()) as progress:
            for number, scheme in enumerate(unseen, start=1):
                scores[way][scheme.text] = scorer([scheme])[0]
                write_scores(study, checksum, scores)
                if progress is not None:
                    progress.update(number)
    write_scores(study, checksum, scores)  # what is scored already may be in other groups now
    return {way: [scores[way][scheme.text] for scheme in study.schemes] for way in WAYS}


@dataclass(frozen=True)
class ScoresFile:
    """The content of scores.json: bits -> score in the ways of `WAYS`, and group -> bits."""

    supernet_sha256: str
    running: Mapping[str, float]
    calibrated: Mapping[str, float]
    groups: Mapping[str, tuple[str, ...]] | None = None

    @property
    def by_way(self) -> dict[str, Mapping[str, float]]:
        """Way -> bits -> score."""
        return dict(zip(WAYS, (self.running, self.calibrated), strict=True))


def read_scores_file(path: Path) -> ScoresFile | None:
    """Read scores.json; None if it is missing or damaged."""
    try:
        content = read_json(path, advice="")
        renamed = {**content, "calibrated": content[WAYS[1]]} if isinstance(content, dict) else content
        return checked(ScoresFile, renamed, where=str(path), advice="")
    except (EANError, KeyError):
        return None


def read_scores(path: Path, supernet_sha256: str) -> dict[str, dict[str, float]]:
    """way -> bits -> score; empty for a file of another supernet, or none."""
    file = read_scores_file(path)
    if file is None or file.supernet_sha256 != supernet_sha256:
        return {way: {} for way in WAYS}  # it costs minutes to make again
    return {way: dict(scores) for way, scores in file.by_way.items()}


def write_scores(study: Study, supernet_sha256: str, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Write scores.json, with the groups by which `--report` finds the study's schemes again."""
    groups = {name: [scheme.text for scheme in schemes] for name, schemes in study.groups.items()}
    content = {"supernet_sha256": supernet_sha256, "groups": groups, **scores}
    write_atomic(study.scores, json.dumps(content, indent=1) + "\n")


def scored_groups(directory: Path, blocks: Sequence[int]) -> Groups:
    """The schemes of a study that are scored, in their groups; in one group for a study of an earlier version.

    Raises:
        EANError: if there are none.
    """
    scored, groups = read_scored(directory)
    found = {name: [Scheme.parse(text, blocks=blocks) for text in texts if text in scored] for name, texts in groups}
    return {name: schemes for name, schemes in found.items() if schemes}


def check_scored(directory: Path, groups: Groups) -> None:
    """Refuse schemes that a study has not scored.

    Raises:
        EANError: with the numbers.
    """
    scored = read_scored(directory)[0]
    asked = {scheme.text for schemes in groups.values() for scheme in schemes}
    if missing := asked - scored:
        raise EANError(
            f"{len(scored)} schemes are scored, but {len(missing)} of the {len(asked)} that --report is asked for are "
            "not: leave out --report, or the flags that draw schemes"
        )


def read_scored(directory: Path) -> tuple[set[str], list[tuple[str, list[str]]]]:
    """The bits that are scored in all of `WAYS`, and the groups of the study, of which some may not be.

    Raises:
        EANError: if there is no study.
    """
    file = read_scores_file(directory / SCORES)
    scored = [] if file is None else [text for text in file.running if text in file.calibrated]
    if file is None or not scored:
        raise EANError(f"{directory} does not hold a study: leave out --report, or give the --work-dir of one")
    groups = {SPREAD: scored} if file.groups is None else file.groups
    return set(scored), [(name, list(texts)) for name, texts in groups.items()]
