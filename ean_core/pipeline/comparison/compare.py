"""Search methods side by side on one trained supernet: Table 4's searches, Fig. 4 and Fig. 5, with statistics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from ean_core.io.json_file import read_json
from ean_core.pipeline.comparison.record import draw_random, figure4, reference_points, write_comparison
from ean_core.pipeline.comparison.scores_file import open_scores, score_all
from ean_core.pipeline.job import Job
from ean_core.pipeline.search_constraints import SearchConstraints
from ean_core.pipeline.task import Metric
from ean_core.search import ANSWERS, STREAMS
from ean_core.search.comparison import GRADIENT_PASSES, Budget, run_entry, summarize_methods
from ean_core.search.method_choice import MethodChoice
from ean_core.search.shared_scores import SharedScores, all_schemes
from ean_core.training.run_key import key_of
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.distributed import barrier, is_main_process, run_on_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of, write_atomic
from ean_core.utils.screen import say
from ean_core.utils.text import how_many

EXHAUSTIVE_BY_DEFAULT = 1024
"""Number of schemes up to which all are scored without being asked for: the answers' regret is then known."""


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        entries: the methods with their options; the recipe's own method and options are not looked at.
        seeds: searches per method, with the seeds 0, 1, ..
        budget: of every search.
        exhaustive: score all schemes first; None: if there are at most `EXHAUSTIVE_BY_DEFAULT`.
    """

    entries: Sequence[MethodChoice]
    seeds: int
    budget: Budget
    exhaustive: bool | None = None

    def check(self, job: Job) -> SearchConstraints:
        """Find a mistake in the methods before hours of training, by building each once.

        Returns:
            what all the searches have in common besides the scores, for `compare_methods`.
        """
        constraints = SearchConstraints.of(job)
        for entry in self.entries:
            constraints.make_method(entry.method, entry.options, seed=0, supernet=None)
        if self.exhaustive:
            all_schemes(constraints.blocks)
        return constraints

    def scores_every_scheme(self, blocks: Sequence[int]) -> bool:
        """Whether every scheme of a network with these blocks per stage is scored."""
        return 2 ** sum(blocks) <= EXHAUSTIVE_BY_DEFAULT if self.exhaustive is None else self.exhaustive


def compare_methods(constraints: SearchConstraints, supernet: Path, comparison: Comparison) -> Path:
    """Run or resume all searches, and write comparison.json.

    Args:
        constraints: what `comparison.check` returned.
        supernet: file that `train_supernet` wrote.
        comparison: methods, seeds and budget.

    Returns:
        the record, in the work directory's folder comparison/.
    """
    job, supernet_sha256 = constraints.job, sha256_of(supernet)
    directory, network = job.directory / "comparison", job.task.load_supernet(supernet)
    scores = open_scores(job, network, directory, supernet_sha256=supernet_sha256)
    every_scheme = all_schemes(constraints.blocks) if comparison.scores_every_scheme(constraints.blocks) else []
    score_all(scores, every_scheme)
    searches = Searches(constraints, network, scores, comparison.budget, directory / "runs")
    runs = []
    for seed in range(comparison.seeds):  # seed by seed, so that an early stop leaves a fair comparison
        for entry in comparison.entries:
            runs.append(searches.run(entry, seed=seed))
            if is_main_process():
                say(describe_run(runs[-1], constraints.job.task.score))
    drawn = draw_random(constraints, comparison.budget.samples * comparison.seeds)
    metrics = {
        **reference_points(constraints, scores, every_scheme),
        "runs": runs,
        "figure4": figure4(runs, drawn, scores(drawn)),
    }
    metrics["methods"] = summarize_methods(runs, highest=metrics["highest"]["reward"] if every_scheme else None)
    path = directory / "comparison.json"
    settings = {"entries": comparison.entries, "seeds": comparison.seeds, "budget": comparison.budget}
    run_on_main_process(
        lambda: write_comparison(path, constraints, metrics, supernet_sha256=supernet_sha256, **settings)
    )
    return path


@dataclass(frozen=True)
class Searches:
    """Runs single searches of a comparison, and keeps what they found.

    Attributes:
        constraints: of all searches.
        network: the supernet, for methods that follow its gradient.
        scores: the common memory.
        budget: of every search.
        directory: for a file per search.
    """

    constraints: SearchConstraints
    network: nn.Module
    scores: SharedScores
    budget: Budget
    directory: Path

    def run(self, entry: MethodChoice, *, seed: int) -> dict[str, Any]:
        """One search, or what its file says if it was run with the same settings before."""
        key, path = self.key(entry, seed), self.directory / f"{entry.slug}-seed{seed}.json"
        barrier()
        if (earlier := read_run(path, key)) is not None:
            return {"method": entry.label, "seed": seed, **earlier}
        method = self.constraints.make_method(entry.method, entry.options, seed=seed, supernet=self.network)
        gradient_images = self.constraints.gradient_images(method)
        images = self.constraints.job.task.count_validation_images()
        run = run_entry(
            method,
            self.scores,
            reward=self.constraints.reward,
            budget=self.budget,
            gradient_cost=GRADIENT_PASSES * gradient_images / images,  # in passes that score a scheme
        )
        barrier()
        run_on_main_process(lambda: write_atomic(path, json.dumps({"key": key, "run": run}) + "\n"))
        return {"method": entry.label, "seed": seed, **run}

    def key(self, entry: MethodChoice, seed: int) -> dict[str, Any]:
        """What a search depends on besides the scores."""
        return {
            "method": entry.method,
            "options": dict(entry.options),
            "seed": seed,
            "budget": dataclasses.asdict(self.budget),
            "reward": dataclasses.asdict(self.constraints.reward),
            "limit": self.constraints.job.search.max_increment,
            "answers": ANSWERS,
            "ends": "with its budget",  # earlier ones went on to all their proposals
            "streams": STREAMS,
            "run": key_of(self.directory.parent),  # the scores'
        }


@dataclass(frozen=True)
class Answer:
    """A scheme that a search gives, with its scores."""

    bits: str
    reward: float
    validation_accuracy: float
    connections: Count
    smoothed_reward: float | None = None


@dataclass(frozen=True)
class Curve:
    """The best scheme so far, by schemes scored."""

    evaluations: tuple[float, ...]
    reward: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Sampled:
    """Schemes drawn from the probabilities at the end."""

    bits: tuple[str, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class SearchRun:
    """What `run_entry` returns, as the comparison's record and pictures need it."""

    returned: Literal["best", "most_probable", "smoothed"]
    best: Answer
    smoothed: Answer
    most_probable: Answer | None
    evaluations: Count
    spent: float
    proposals: Count
    curve: Curve
    probability: Mapping[str, tuple[float, ...]] | None
    sampled: Sampled


@dataclass(frozen=True)
class RunFile:
    """A file of comparison/runs/: a search, and all that it depends on besides the scores."""

    key: Mapping[str, Any]
    run: SearchRun


def read_run(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """A finished search of these settings; None if there is none."""
    try:
        content = read_json(path, advice="")
        file = checked(RunFile, content, where=str(path), advice="")
    except EANError:  # missing or damaged: it is searched again
        return None
    earlier = {"run": key.get("run"), **file.key}  # earlier versions did not write it
    return content["run"] if earlier == json.loads(json.dumps(key)) else None


def describe_run(run: dict[str, Any], score: Metric) -> str:
    """A search in a line, as it ends."""
    best = run["best"]
    return (
        f"{run['method']} seed {run['seed']}: best reward {best['reward']:.2f} with {best['bits']} "
        f"({score.name} {best['validation_accuracy']:.2f} {score.unit}); "
        f"{how_many(run['evaluations'], 'scheme')} scored in {how_many(run['proposals'], 'proposal')}"
    )
