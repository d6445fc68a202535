"""Search methods side by side on one trained supernet: Table 4's searches, Fig. 4 and Fig. 5, with statistics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classification.gradient import connect_gradient
from classification.job import Job
from classification.latency import Rules
from classification.search import load_supernet
from classification.supernet import both_sections, make_scorer
from ean_core.io.json_file import read_json
from ean_core.io.records import write_record
from ean_core.networks import StagedNetwork
from ean_core.scheme import Scheme
from ean_core.search import ANSWERS, STREAMS, GradientMethod, History, SearchMethod
from ean_core.search.comparison import (
    GRADIENT_PASSES,
    Budget,
    Entry,
    compare_distributions,
    distribution,
    run_entry,
    score_answer,
    summarise,
)
from ean_core.search.history import read_lines
from ean_core.search.scores import SharedScores, all_schemes
from ean_core.training.run_lock import claim, first_difference, read_claim
from ean_core.utils.distributed import barrier, first_does, is_first
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of, write_atomic
from ean_core.utils.progress import bar

FREE = 1024
"""Number of schemes up to which all are scored without being asked for: the answers then have a known regret."""

ENDS = {"all_off": Scheme.all_off, "all_on": Scheme.all_on}
"""No attention, and attention at every block."""


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        entries: the methods with their options; the recipe's own method and options are not looked at.
        seeds: searches per method, with the seeds 0, 1, ..
        budget: of every search.
        exhaustive: score all schemes first; None: if there are at most `FREE`.
    """

    entries: Sequence[Entry]
    seeds: int
    budget: Budget
    exhaustive: bool | None = None

    def check(self, job: Job) -> Rules:
        """Find a mistake in the methods before hours of training, by building each once.

        Returns:
            what all the searches have in common besides the scores, for `compare_methods`.
        """
        rules = Rules.of(job)
        for entry in self.entries:
            rules.keep(rules.build(entry.method, entry.options, seed=0))
        if self.exhaustive:
            all_schemes(rules.blocks)
        return rules

    def all_scored(self, blocks: Sequence[int]) -> bool:
        """Whether every scheme is scored."""
        return 2 ** sum(blocks) <= FREE if self.exhaustive is None else self.exhaustive


def compare_methods(rules: Rules, supernet: Path, comparison: Comparison) -> Path:
    """Run, or go on with, all searches, and write comparison.json.

    Args:
        rules: what `comparison.check` returned.
        supernet: file that `train_supernet` wrote.
        comparison: methods, seeds and budget.

    Returns:
        the record, in the work directory's folder comparison/.
    """
    job, checksum = rules.job, sha256_of(supernet)
    directory, network = job.directory / "comparison", load_supernet(job, supernet)
    scores = open_scores(job, network, directory, supernet_sha256=checksum)
    everything = all_schemes(rules.blocks) if comparison.all_scored(rules.blocks) else []
    score_all(scores, everything)
    runs = []
    for seed in range(comparison.seeds):  # seed by seed, so that an early stop leaves a fair comparison
        for entry in comparison.entries:
            runs.append(search_once(rules, network, scores, comparison.budget, entry, seed=seed, directory=directory))
            if is_first():
                print(line_of(runs[-1]), flush=True)
    drawn = draw_random(rules, comparison.budget.samples * comparison.seeds)
    metrics = {
        **landscape(rules, scores, everything),
        "runs": runs,
        "figure4": figure4(runs, drawn, scores(drawn)),
    }
    metrics["methods"] = summarise(runs, highest=metrics["highest"]["reward"] if everything else None)
    path = directory / "comparison.json"
    first_does(lambda: write(path, rules, comparison, metrics, checksum))
    return path


# -- scores -----------------------------------------------------------------------------------------------------------


def open_scores(job: Job, network: StagedNetwork, directory: Path, *, supernet_sha256: str) -> SharedScores:
    """The memory of the work directory's comparison, with what its own search scored on the same supernet.

    Raises:
        EANError: if the directory holds a comparison on another supernet, other data or other batch-norm statistics.
    """
    _, search = both_sections(job)
    identity = {
        "part": "comparison",
        "supernet_sha256": supernet_sha256,
        "data": job.data_identity(),
        "bn_images": search.bn_images,
        "bn_batch_size": search.bn_batch_size if search.bn_images else None,
        "seed": job.recipe.seed,
    }
    path = directory / "scores.jsonl"
    claim(directory, identity, resume=job.resume, begun=[path, directory / "runs"], work_dir=job.work_dir())
    history = History.open(path, resume=job.resume) if is_first() else History.follow(path)
    barrier()
    scorer = make_scorer(job, network)
    scores = SharedScores(history, lambda schemes: [score.accuracy for score in scorer(schemes)])
    scores.learn(earlier_scores(job, identity))
    return scores


def earlier_scores(job: Job, identity: dict[str, Any]) -> list[tuple[str, float]]:
    """What a search in the same work directory scored, if it scored as this comparison does."""
    path, claimed = job.directory / "history.jsonl", job.directory / "search" / "run.json"
    if not path.exists() or not claimed.exists():
        return []
    earlier = read_claim(claimed)
    settings = earlier.get("search", {})
    same = {
        "part": "comparison",
        **{name: earlier.get(name) for name in ("supernet_sha256", "data", "seed")},
        "bn_images": settings.get("bn_images"),
        "bn_batch_size": settings.get("bn_batch_size") if settings.get("bn_images") else None,
    }
    if first_difference(same, json.loads(json.dumps(identity))):
        return []
    return [(line["bits"], line["accuracy"]) for line in read_lines(path)]


def score_all(scores: SharedScores, schemes: Sequence[Scheme]) -> None:
    """Score what is not known yet, under a progress bar."""
    unseen = [one for one in schemes if one.text not in scores.known]
    if not unseen:
        return
    with bar("all schemes", len(unseen), show=is_first()) as progress:
        scores(unseen, on_chunk=lambda done: progress.update(done) if progress else None)


def draw_random(rules: Rules, count: int) -> list[Scheme]:
    """Fair bits, as the supernet's training draws them; repaired as a search's draws are where there is a limit."""
    rng = np.random.default_rng(0)
    drawn = [Scheme.random(rules.blocks, rng) for _ in range(count)]
    return drawn if rules.limit is None else [rules.limit.repair(scheme, None) for scheme in drawn]


# -- searches ---------------------------------------------------------------------------------------------------------


def search_once(
    rules: Rules,
    network: StagedNetwork,
    scores: SharedScores,
    budget: Budget,
    entry: Entry,
    *,
    seed: int,
    directory: Path,
) -> dict[str, Any]:
    """One search, or what its file says if it was run with the same settings before."""
    key = {
        **{"method": entry.method, "options": dict(entry.options), "seed": seed},
        "budget": dataclasses.asdict(budget),
        "reward": dataclasses.asdict(rules.reward),
        "limit": both_sections(rules.job)[1].max_increment,
        "answers": ANSWERS,
        "ends": "with its budget",  # earlier ones went on to all their proposals
        "streams": STREAMS,
    }
    path = directory / "runs" / f"{entry.slug}-seed{seed}.json"
    barrier()
    if (found := read_run(path, key)) is not None:
        return {"method": entry.label, "seed": seed, **found}
    method = rules.build(entry.method, entry.options, seed=seed)
    connect_gradient(method, rules.job, network, seed=seed)
    found = run_entry(
        rules.keep(method),
        scores,
        reward=rules.reward,
        budget=budget,
        gradient_cost=gradient_cost(method, images=len(rules.job.split()[1])),
    )
    barrier()
    first_does(lambda: write_atomic(path, json.dumps({"key": key, "run": found}) + "\n"))
    return {"method": entry.label, "seed": seed, **found}


def read_run(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """A finished search of these settings; None if there is none."""
    try:
        content = read_json(path, advice="")
        return content["run"] if content["key"] == json.loads(json.dumps(key)) else None
    except (EANError, KeyError, TypeError):
        return None


def gradient_cost(method: SearchMethod, *, images: int) -> float:
    """Evaluations that a step's gradient is worth: its images' passes over those of one scheme's score."""
    if not isinstance(method, GradientMethod):
        return 0.0
    return GRADIENT_PASSES * min(method.images, images) / images


def line_of(run: dict[str, Any]) -> str:
    """A search in a line, as it ends."""
    best = run["best"]
    return (
        f"{run['method']}, seed {run['seed']}: best reward {best['reward']:.2f} with {best['bits']} "
        f"({best['validation_accuracy']:.2f} %), {run['evaluations']} schemes in {run['proposals']} proposals"
    )


# -- what comes out ---------------------------------------------------------------------------------------------------


def landscape(rules: Rules, scores: SharedScores, everything: Sequence[Scheme]) -> dict[str, Any]:
    """Reference points: no attention, attention everywhere, and the best of all schemes if all were scored."""

    found: dict[str, Any] = {
        name: score_answer(make(rules.blocks), scores, rules.reward) for name, make in ENDS.items()
    }
    if everything:
        described = [score_answer(scheme, scores, rules.reward) for scheme in everything if rules.allows(scheme)]
        found["highest"] = max(described, key=lambda one: (one["reward"], -one["connections"]))
        found["schemes"] = len(described)
        accuracies = [one["validation_accuracy"] for one in described]
        found["accuracy_quantiles"] = [round(float(one), 4) for one in np.quantile(accuracies, np.linspace(0, 1, 11))]
    return found


def figure4(runs: Sequence[dict[str, Any]], drawn: Sequence[Scheme], accuracies: Sequence[float]) -> dict[str, Any]:
    """Random schemes against those drawn from each method's last probabilities, all its seeds together."""
    if not drawn:
        return {}
    found: dict[str, Any] = {"random": distribution(accuracies, len({one.text for one in drawn})), "methods": {}}
    for label in dict.fromkeys(run["method"] for run in runs):
        sampled = [run["sampled"] for run in runs if run["method"] == label]
        values = [value for one in sampled for value in one["accuracy"]]
        if values:
            bits = {text for one in sampled for text in one["bits"]}
            tests = compare_distributions(values, accuracies)
            found["methods"][label] = {**distribution(values, len(bits)), "against_random": tests}
    return found


def write(path: Path, rules: Rules, comparison: Comparison, metrics: dict[str, Any], supernet_sha256: str) -> None:
    """comparison.json; the schemes drawn for Fig. 4 stay in the runs' own files."""
    job = rules.job
    runs = [{name: value for name, value in run.items() if name != "sampled"} for run in metrics["runs"]]
    write_record(
        path,
        kind="search-comparison",
        settings={
            **job.record_settings(),
            "supernet_sha256": supernet_sha256,
            "validation_images": len(job.split()[1]),
            "blocks": list(rules.blocks),
            "methods": {one.label: {"method": one.method, "options": dict(one.options)} for one in comparison.entries},
            "seeds": comparison.seeds,
            "budget": dataclasses.asdict(comparison.budget),
            "exhaustive": "schemes" in metrics,
            "evaluations": "different schemes that a method asked for; a gradient's images count three passes each; "
            "a search ends with its budget",
        },
        metrics={**metrics, "runs": runs},
    )
