"""What a comparison of searches records: reference points, Fig. 4's distributions, and comparison.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ean_core.io.records import write_record
from ean_core.pipeline.search_constraints import SearchConstraints
from ean_core.scheme import Scheme
from ean_core.search.comparison import Budget, distribution, score_answer
from ean_core.search.method_choice import MethodChoice
from ean_core.search.shared_scores import SharedScores
from ean_core.utils.significance import compare_groups

ENDS = {"all_off": Scheme.all_off, "all_on": Scheme.all_on}
"""No attention, and attention at every block."""


def draw_random(constraints: SearchConstraints, count: int) -> list[Scheme]:
    """Fair bits, as the supernet's training draws them; repaired as a search's draws are where there is a limit."""
    rng = np.random.default_rng(0)
    drawn = [Scheme.random(constraints.blocks, rng) for _ in range(count)]
    return drawn if constraints.limit is None else [constraints.limit.repair(scheme, None) for scheme in drawn]


def reference_points(
    constraints: SearchConstraints, scores: SharedScores, every_scheme: Sequence[Scheme]
) -> dict[str, Any]:
    """No attention, attention everywhere, and the best of all schemes if all were scored.

    Args:
        constraints: of the searches.
        scores: their memory.
        every_scheme: all schemes of the network, or none.
    """
    points: dict[str, Any] = {
        name: score_answer(make(constraints.blocks), scores, constraints.reward) for name, make in ENDS.items()
    }
    if every_scheme:
        described = [
            score_answer(scheme, scores, constraints.reward) for scheme in every_scheme if constraints.allows(scheme)
        ]
        points["highest"] = max(described, key=lambda answer: (answer["reward"], -answer["connections"]))
        points["schemes"] = len(described)
        accuracies = [answer["validation_accuracy"] for answer in described]
        quantiles = np.quantile(accuracies, np.linspace(0, 1, 11))
        points["accuracy_quantiles"] = [round(float(quantile), 4) for quantile in quantiles]
    return points


def figure4(runs: Sequence[Mapping[str, Any]], drawn: Sequence[Scheme], accuracies: Sequence[float]) -> dict[str, Any]:
    """Random schemes against those drawn from each method's last probabilities; the test's units are its seeds.

    Args:
        runs: the searches.
        drawn: random schemes.
        accuracies: their scores, in percent.
    """
    if not drawn:
        return {}
    random = distribution(accuracies, len({scheme.text for scheme in drawn}))
    methods = {}
    for label in dict.fromkeys(run["method"] for run in runs):
        sampled = [run["sampled"] for run in runs if run["method"] == label]
        values = [value for sample in sampled for value in sample["accuracy"]]
        if values:
            bits = {text for sample in sampled for text in sample["bits"]}
            tests = compare_groups([sample["accuracy"] for sample in sampled if sample["accuracy"]], accuracies)
            methods[label] = {**distribution(values, len(bits)), "against_random": tests}
    return {"random": random, "methods": methods}


def write_comparison(
    path: Path,
    constraints: SearchConstraints,
    metrics: Mapping[str, Any],
    *,
    entries: Sequence[MethodChoice],
    seeds: int,
    budget: Budget,
    supernet_sha256: str,
) -> None:
    """Write comparison.json; the schemes drawn for Fig. 4 stay in the runs' own files."""
    job = constraints.job
    runs = [{name: value for name, value in run.items() if name != "sampled"} for run in metrics["runs"]]
    write_record(
        path,
        kind=job.record_kind("search-comparison"),
        settings={
            **job.record_settings(),
            "supernet_sha256": supernet_sha256,
            "validation_images": job.task.count_validation_images(),
            "blocks": list(constraints.blocks),
            "methods": {entry.label: {"method": entry.method, "options": dict(entry.options)} for entry in entries},
            "seeds": seeds,
            "budget": dataclasses.asdict(budget),
            "exhaustive": "schemes" in metrics,
            "evaluations": "different schemes that a method asked for; a gradient's images count three passes each; "
            "a search ends with its budget",
        },
        metrics={**metrics, "runs": runs},
    )
