"""Compares search methods on shared scores at equal budgets.

The budget is the number of distinct schemes that a method requests to score, whether or not another method requested
them before. A gradient costs its method as much budget as the forward passes it takes.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.base import ANSWERS, SearchMethod, Trial
from ean_core.search.driver import Evaluate, run_search
from ean_core.search.history import History, HistoryLine
from ean_core.search.reward import Reward
from ean_core.search.smoothing import best_smoothed
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import student_interval

GRADIENT_PASSES = 3
"""Cost of a gradient in forward passes: one, and a backward pass that takes about two."""

MAX_WINDOWS = 100
"""Maximum number of points of a probability curve; each is a mean over a window of proposals."""


@dataclass(frozen=True)
class Budget:
    """The budget of every search, which ends as soon as either limit is reached.

    Attributes:
        evaluations: distinct schemes scored; the final most probable scheme is scored on top.
        proposals: schemes proposed, repetitions included.
        samples: schemes sampled from the final probabilities, for Fig. 4.
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
        """Numbers of evaluations at which curves have points, spaced about logarithmically."""
        return np.unique(np.geomspace(1, self.evaluations, 30).round().astype(int)).tolist()


class BudgetTracker:
    """Enforces a search's budget, and tracks the best scheme over the course of the search."""

    def __init__(self, budget: Budget, *, gradient_cost: float) -> None:
        self.budget, self.gradient_cost = budget, gradient_cost
        self.spent: list[float] = []  # at every proposal
        self.lines: list[HistoryLine] = []  # of every proposal
        self.best: list[HistoryLine] = []  # at every proposal, the best line so far
        self.p_mean: list[float | None] = []

    def afford(self, step: int, proposed: Sequence[Scheme]) -> list[Scheme]:
        """The driver's `afford`: the leading proposals that the remaining budget covers, always the very first one."""
        distinct = {line.bits for line in self.lines}
        affordable: list[Scheme] = []
        for scheme in proposed:
            distinct.add(scheme.text)
            spent = len(distinct) + self.gradient_cost * step
            count = len(self.lines) + len(affordable)
            if count and (spent > self.budget.evaluations or count == self.budget.proposals):
                break
            affordable.append(scheme)
        return affordable

    def __call__(self, step: int, lines: Sequence[HistoryLine], *, replayed: bool) -> None:
        """The driver's `on_step`: add a step's lines, and the best line so far after each of them."""
        del replayed
        self.lines += lines
        for line in lines:
            best = self.best[-1] if self.best else line
            self.best.append(max(best, line, key=lambda line: (line.reward, -line.connections)))
            self.spent.append(line.evaluations + self.gradient_cost * step)
            self.p_mean.append(line.p_mean)

    def posterior_mean_best(self) -> tuple[HistoryLine, float]:
        """The scheme that is best after smoothing out evaluation noise (`smoothing.py`), and its smoothed reward."""
        lines = [line for line in self.lines if line.new]
        index, reward = best_smoothed([line.bits for line in lines], [line.reward for line in lines])
        return lines[index], reward

    def curve(self) -> dict[str, list[float]]:
        """Reward and accuracy of the best scheme so far, at each of the budget's checkpoints that was reached."""
        curve: dict[str, list[float]] = {"evaluations": [], "reward": [], "accuracy": []}
        for count in self.budget.checkpoints:
            if proposals := bisect_right(self.spent, count):  # the spent budget never shrinks
                line = self.best[proposals - 1]
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
    """Run one search; returns what the record keeps of it.

    Args:
        method: fresh.
        evaluate: scores schemes, each only once (`SharedScores`).
        reward: Eq. 7.
        budget: of every method.
        gradient_cost: cost of a step's gradient in evaluations; 0 for methods without.
    """
    start = time.perf_counter()
    tracker = BudgetTracker(budget, gradient_cost=gradient_cost)
    result = run_search(
        method,
        evaluate,
        steps=budget.proposals,  # each with at least one proposal
        reward=reward,
        history=History(None),
        afford=tracker.afford,
        on_step=tracker,
    )
    line, smoothed_reward = tracker.posterior_mean_best()
    best, smoothed = (Scheme.parse(one.bits, blocks=method.blocks) for one in (tracker.best[-1], line))
    # a relaxed connection is not a probability
    samples = [] if gradient_cost else method.sample(budget.samples, method.generator(1))
    return {
        "returned": method.answer,
        "best": score_answer(best, evaluate, reward),
        "smoothed": {**score_answer(smoothed, evaluate, reward), "smoothed_reward": round(smoothed_reward, 4)},
        "most_probable": None if result.most_probable is None else describe(result.most_probable),
        "evaluations": tracker.lines[-1].evaluations,
        "spent": round(tracker.spent[-1], 2),
        "proposals": result.proposals,
        "curve": tracker.curve(),
        "probability": None if gradient_cost else _windows(tracker.p_mean),
        "sampled": {
            "bits": [scheme.text for scheme in samples],
            "accuracy": evaluate(samples) if samples else [],
        },
        "seconds": round(time.perf_counter() - start, 2),
    }


def score_answer(scheme: Scheme, evaluate: Evaluate, reward: Reward) -> dict[str, Any]:
    """Score a scheme, and describe it as `describe` does."""
    accuracy = evaluate([scheme])[0]
    return describe(Trial(scheme, accuracy, reward.terms(scheme, accuracy)))


def describe(trial: Trial) -> dict[str, Any]:
    """A scheme and its scores, as written to the record."""
    return {
        "bits": str(trial.scheme),
        "reward": round(trial.reward, 4),
        "validation_accuracy": trial.accuracy,
        "connections": trial.scheme.connections,
    }


def _windows(values: Sequence[float | None]) -> dict[str, list[float]] | None:
    """Means over windows of proposals, and the last proposal of each window; None without values."""
    if not values or any(value is None for value in values):
        return None
    width = -(-len(values) // MAX_WINDOWS)
    windows = [values[start : start + width] for start in range(0, len(values), width)]
    ends = np.cumsum([len(window) for window in windows]).tolist()
    return {"proposals": ends, "p_mean": [round(float(np.mean(window)), 4) for window in windows]}


# -- over the seeds ---------------------------------------------------------------------------------------------------


def mean_with_interval(values: Sequence[float], *, lowest: float = -np.inf) -> dict[str, Any]:
    """Count, mean, standard deviation and the mean's 95 % interval by Student's t, as written to the record.

    The ends are None where `student_interval` knows none.
    """
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    mean, low, high = (
        None if end is None else round(end, 4)
        for end in student_interval(float(np.mean(values)), std, len(values), lowest=lowest).to_record().values()
    )
    return {"n": len(values), "mean": mean, "std": None if std is None else round(std, 4), "low": low, "high": high}


def summarize_methods(runs: Sequence[Mapping[str, Any]], *, highest: float | None) -> list[dict[str, Any]]:
    """One row per method: means over its seeds, with intervals.

    Args:
        runs: "method", "seed" and what `run_entry` returns, for each search.
        highest: the highest reward of all schemes, for the regret; None if not all were scored.
    """
    rows = []
    for label in dict.fromkeys(run["method"] for run in runs):
        method_runs = [run for run in runs if run["method"] == label]
        row: dict[str, Any] = {"method": label, "n": len(method_runs)}
        for answer in ANSWERS:
            if method_runs[0].get(answer) is None:
                continue
            row[answer] = {
                name: mean_with_interval([run[answer][name] for run in method_runs])
                for name in ("reward", "validation_accuracy", "connections")
            }
            if highest is not None:
                regrets = [highest - run[answer]["reward"] for run in method_runs]
                row[answer]["regret"] = mean_with_interval(regrets, lowest=0.0)
                row[answer]["exact"] = sum(highest - run[answer]["reward"] < 1e-6 for run in method_runs)
        for name in ("evaluations", "spent", "proposals"):
            row[name] = round(float(np.mean([run[name] for run in method_runs])), 2)
        rows.append(row)
    return rows


def distribution(accuracies: Sequence[float], different: int) -> dict[str, Any]:
    """Validation accuracies of sampled schemes with their mean and spread, and the number of distinct schemes."""
    values = np.asarray(accuracies, dtype=float)
    return {
        "n": len(values),
        "different": different,
        "mean": round(float(values.mean()), 4),
        "std": round(float(values.std(ddof=1)), 4) if len(values) > 1 else None,
        "accuracy": [round(float(value), 4) for value in values],
    }
