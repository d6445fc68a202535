"""Several search methods on shared scores, at equal budgets: what each found by when, and whether that is luck.

The budget is the number of different schemes that a method asked to be scored, whoever had asked for them before. A
gradient costs its method as much budget as the forward passes it takes.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ean_core.cli import literal
from ean_core.scheme import Scheme
from ean_core.search import long_name
from ean_core.search.base import ANSWERS, SearchMethod, Trial
from ean_core.search.driver import Evaluate, run_search
from ean_core.search.history import History, HistoryLine
from ean_core.search.reward import Reward
from ean_core.search.smoothing import best_smoothed
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import bootstrap

GRADIENT_PASSES = 3
"""Forward passes that a gradient is counted as: one, and a backward pass, which takes about two."""

WINDOWS = 100
"""Points of a probability curve at most; each is a mean over as many proposals as it takes."""


@dataclass(frozen=True)
class Entry:
    """A method of the comparison.

    Attributes:
        label: how the user wrote it, with the long name of the method; names its rows.
        method: a name of `METHODS`.
        options: of the method.
    """

    label: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The label as a part of a file's name."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", self.label)


def parse_entries(texts: Sequence[str]) -> list[Entry]:
    """`["ean,random", "ean:natural", "enas:hidden=32:schemes_per_step=5"]`: commas or blanks between the methods, and
    after a method its options; a word without "=" is a preset.

    Raises:
        EANError: if nothing is left, or a method is given twice.
    """
    entries = []
    for label in [part.strip() for text in texts for part in text.split(",") if part.strip()]:
        method, *settings = label.split(":")
        method = long_name(method)
        options: dict[str, Any] = {}
        for setting in settings:
            name, sign, value = setting.partition("=")
            if not setting:
                raise EANError(f"method {label!r} ends with a colon: write METHOD:PRESET or METHOD:OPTION=VALUE")
            name, value = (name, value) if sign else ("preset", name)
            options[name] = literal(value)
        entries.append(Entry(":".join([method, *settings]), method, options))
    slugs = [entry.slug for entry in entries]
    if not entries or len(set(slugs)) < len(slugs):
        given = ", ".join(entry.label for entry in entries) or "nothing"
        raise EANError(f"the methods to compare must be different, and at least one, got {given}: give each once")
    return entries


@dataclass(frozen=True)
class Budget:
    """What every search gets. It ends with the first of the two that is used up, and asks for no scheme more.

    Attributes:
        evaluations: different schemes scored; the most probable scheme, an answer, is scored besides.
        proposals: schemes proposed, those seen before too.
        samples: schemes drawn from the probabilities at the end, for Fig. 4; 0 for none.
    """

    evaluations: int
    proposals: int
    samples: int = 0

    def __post_init__(self) -> None:
        for name, low in (("evaluations", 1), ("proposals", 1), ("samples", 0)):
            if getattr(self, name) < low:
                raise EANError(f"{name} must be at least {low}, got {getattr(self, name)}")

    @property
    def checkpoints(self) -> list[int]:
        """Evaluations at which a search is looked at, about evenly spread on a logarithmic scale."""
        return np.unique(np.geomspace(1, self.evaluations, 30).round().astype(int)).tolist()


class BudgetTracker:
    """Holds a search to its budget, and notes the best scheme at every point of it."""

    def __init__(self, budget: Budget, *, gradient_cost: float) -> None:
        self.budget, self.gradient_cost = budget, gradient_cost
        self.spent: list[float] = []  # at every proposal
        self.lines: list[HistoryLine] = []  # of every proposal
        self.best: list[HistoryLine] = []  # at every proposal, the best line so far
        self.p_mean: list[float | None] = []

    def afford(self, step: int, proposed: Sequence[Scheme]) -> list[Scheme]:
        """The driver's `afford`: the proposals that what is left of the budget pays for; the very first one always."""
        seen = {line.bits for line in self.lines}
        paid: list[Scheme] = []
        for scheme in proposed:
            seen.add(scheme.text)
            spent = len(seen) + self.gradient_cost * step
            count = len(self.lines) + len(paid)
            if count and (spent > self.budget.evaluations or count == self.budget.proposals):
                break
            paid.append(scheme)
        return paid

    def __call__(self, step: int, lines: Sequence[HistoryLine], *, replayed: bool) -> None:
        """Note a step's lines, and what is the best so far after each of them (the driver's `on_step`)."""
        del replayed
        self.lines += lines
        for line in lines:
            best = self.best[-1] if self.best else line
            self.best.append(max(best, line, key=lambda line: (line.reward, -line.connections)))
            self.spent.append(line.evaluations + self.gradient_cost * step)
            self.p_mean.append(line.p_mean)

    def posterior_mean_best(self) -> HistoryLine:
        """The scheme that is best after smoothing out evaluation noise (`smoothing.py`)."""
        lines = [line for line in self.lines if line.new]
        return lines[best_smoothed([line.bits for line in lines], [line.reward for line in lines])]

    def curve(self) -> dict[str, list[float]]:
        """Reward and accuracy of the best so far at each of the budget's checkpoints that was reached."""
        curve: dict[str, list[float]] = {"evaluations": [], "reward": [], "accuracy": []}
        for count in self.budget.checkpoints:
            if paid := bisect_right(self.spent, count):  # proposals; what is spent never shrinks
                line = self.best[paid - 1]
                curve["evaluations"].append(count)
                curve["reward"].append(round(line.reward, 4))
                curve["accuracy"].append(round(line.accuracy, 4))
        return curve


def run_entry(
    method: SearchMethod,
    evaluate: Evaluate,
    *,
    reward: Reward,
    budget: Budget,
    gradient_cost: float = 0.0,
) -> dict[str, Any]:
    """One search, and all that the record keeps of it.

    Args:
        method: fresh.
        evaluate: remembers what it scored.
        reward: Eq. 7.
        budget: of every method.
        gradient_cost: evaluations that a step's gradient is counted as, for methods that need one.
    """
    start = time.perf_counter()
    tracker = BudgetTracker(budget, gradient_cost=gradient_cost)
    result = run_search(
        method,
        evaluate,
        steps=budget.proposals,  # of one proposal at least
        reward=reward,
        history=History(None),
        afford=tracker.afford,
        on_step=tracker,
    )
    best, smoothed = (
        Scheme.parse(line.bits, blocks=method.blocks) for line in (tracker.best[-1], tracker.posterior_mean_best())
    )
    # a relaxed connection is no probability
    draws = [] if gradient_cost else method.sample(budget.samples, method.generator(1))
    return {
        "returned": method.answer,
        "best": score_answer(best, evaluate, reward),
        "smoothed": score_answer(smoothed, evaluate, reward),
        "most_probable": None if result.most_probable is None else describe(result.most_probable),
        "evaluations": tracker.lines[-1].evaluations,
        "spent": round(tracker.spent[-1], 2),
        "proposals": result.proposals,
        "curve": tracker.curve(),
        "probability": None if gradient_cost else _windows(tracker.p_mean),
        "sampled": {
            "bits": [scheme.text for scheme in draws],
            "accuracy": evaluate(draws) if draws else [],
        },
        "seconds": round(time.perf_counter() - start, 2),
    }


def score_answer(scheme: Scheme, evaluate: Evaluate, reward: Reward) -> dict[str, Any]:
    """A scheme as `describe` has it, scored now."""
    accuracy = evaluate([scheme])[0]
    return describe(Trial(scheme, accuracy, reward.terms(scheme, accuracy)))


def describe(trial: Trial) -> dict[str, Any]:
    """A scheme and what it scored, as the record has it."""
    return {
        "bits": str(trial.scheme),
        "reward": round(trial.reward, 4),
        "validation_accuracy": trial.accuracy,
        "connections": trial.scheme.connections,
    }


def _windows(values: Sequence[float | None]) -> dict[str, list[float]] | None:
    """Means over windows of proposals, and the last proposal of each; None if there are no values."""
    if not values or any(value is None for value in values):
        return None
    width = -(-len(values) // WINDOWS)
    windows = [values[start : start + width] for start in range(0, len(values), width)]
    ends = np.cumsum([len(window) for window in windows]).tolist()
    return {"proposals": ends, "p_mean": [round(float(np.mean(window)), 4) for window in windows]}


# -- over the seeds ---------------------------------------------------------------------------------------------------


def mean_with_interval(values: Sequence[float]) -> dict[str, Any]:
    """ "n", "mean", "std", and "low" and "high" of the mean's 95 % bootstrap interval, as the record holds them."""
    interval = bootstrap(np.mean, values, resamples=5000)
    return {
        "n": len(values),
        "mean": round(interval.value, 4),
        "std": round(float(np.std(values, ddof=1)), 4) if len(values) > 1 else None,
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }


def summarize_methods(runs: Sequence[Mapping[str, Any]], *, highest: float | None) -> list[dict[str, Any]]:
    """A row per method: means over its seeds with their intervals.

    Args:
        runs: with "method" and "seed", and what `run_entry` gives.
        highest: reward of the best scheme of all, if all were scored; then there is a regret.
    """
    rows = []
    for label in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == label]
        row: dict[str, Any] = {"method": label, "n": len(mine)}
        for answer in ANSWERS:
            if mine[0].get(answer) is None:
                continue
            row[answer] = {
                name: mean_with_interval([run[answer][name] for run in mine])
                for name in ("reward", "validation_accuracy", "connections")
            }
            if highest is not None:
                row[answer]["regret"] = mean_with_interval([highest - run[answer]["reward"] for run in mine])
                row[answer]["exact"] = sum(highest - run[answer]["reward"] < 1e-6 for run in mine)
        for name in ("evaluations", "spent", "proposals"):
            row[name] = round(float(np.mean([run[name] for run in mine])), 2)
        rows.append(row)
    return rows


def distribution(accuracies: Sequence[float], different: int) -> dict[str, Any]:
    """Sampled schemes' validation accuracies with their mean and spread, and how many different schemes they are."""
    values = np.asarray(accuracies, dtype=float)
    return {
        "n": len(values),
        "different": different,
        "mean": round(float(values.mean()), 4),
        "std": round(float(values.std(ddof=1)), 4) if len(values) > 1 else None,
        "accuracy": [round(float(value), 4) for value in values],
    }
