"""Several search methods on one set of scores, at equal budgets: what each found by when, and whether it is luck.

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
from ean_core.search.history import History, Line
from ean_core.search.reward import Reward
from ean_core.search.smoothing import best_smoothed
from ean_core.utils.errors import EANError

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
        method, *words = label.split(":")
        method = long_name(method)
        options: dict[str, Any] = {}
        for word in words:
            name, sign, value = word.partition("=")
            if not word:
                raise EANError(f"method {label!r} ends with a colon: write METHOD:PRESET or METHOD:OPTION=VALUE")
            name, value = (name, value) if sign else ("preset", name)
            options[name] = literal(value)
        entries.append(Entry(":".join([method, *words]), method, options))
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


class Watch:
    """Holds a search to its budget, and follows it: what was best when how much of the budget was spent."""

    def __init__(self, budget: Budget, *, gradient_cost: float) -> None:
        self.budget, self.gradient_cost = budget, gradient_cost
        self.spent: list[float] = []  # at every proposal
        self.lines: list[Line] = []  # of every proposal
        self.best: list[Line] = []  # at every proposal, the best line so far
        self.p_mean: list[float | None] = []

    def afford(self, step: int, proposed: Sequence[Scheme]) -> list[Scheme]:
        """The driver's `afford`: the proposals that what is left of the budget pays for; the very first one always."""
        seen = {line["bits"] for line in self.lines}
        paid: list[Scheme] = []
        for scheme in proposed:
            seen.add(scheme.text)
            spent = len(seen) + self.gradient_cost * step
            count = len(self.lines) + len(paid)
            if count and (spent > self.budget.evaluations or count == self.budget.proposals):
                break
            paid.append(scheme)
        return paid

    def __call__(self, step: int, lines: Sequence[Line], *, replayed: bool) -> None:
        """The driver's `on_step`."""
        del replayed
        self.lines += lines
        for line in lines:
            best = self.best[-1] if self.best else line
            self.best.append(max(best, line, key=lambda one: (one["reward"], -one["connections"])))
            self.spent.append(line["evaluations"] + self.gradient_cost * step)
            self.p_mean.append(line.get("p_mean"))

    def smoothed(self) -> Line:
        """The scheme with the highest smoothed reward."""
        lines = [line for line in self.lines if line["new"]]
        return lines[best_smoothed([line["bits"] for line in lines], [line["reward"] for line in lines])]

    def curve(self) -> dict[str, list[float]]:
        """Reward and accuracy of the best so far at each of the budget's checkpoints that was reached."""
        curve: dict[str, list[float]] = {"evaluations": [], "reward": [], "accuracy": []}
        for count in self.budget.checkpoints:
            if paid := bisect_right(self.spent, count):  # proposals; what is spent never shrinks
                line = self.best[paid - 1]
                curve["evaluations"].append(count)
                curve["reward"].append(round(line["reward"], 4))
                curve["accuracy"].append(round(line["accuracy"], 4))
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
    watch = Watch(budget, gradient_cost=gradient_cost)
    found = run_search(
        method,
        evaluate,
        steps=budget.proposals,  # of one proposal at least
        reward=reward,
        history=History(None),
        afford=watch.afford,
        on_step=watch,
    )
    best, smoothed = (Scheme.parse(one["bits"], blocks=method.blocks) for one in (watch.best[-1], watch.smoothed()))
    # a relaxed connection is no probability
    draws = [] if gradient_cost else method.sample(budget.samples, method.generator(1))
    return {
        "returned": method.answer,
        "best": score_answer(best, evaluate, reward),
        "smoothed": score_answer(smoothed, evaluate, reward),
        "most_probable": None if found.most_probable is None else describe(found.most_probable),
        "evaluations": watch.lines[-1]["evaluations"],
        "spent": round(watch.spent[-1], 2),
        "proposals": found.proposals,
        "curve": watch.curve(),
        "probability": None if gradient_cost else _windows(watch.p_mean),
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
    parts = [values[place : place + width] for place in range(0, len(values), width)]
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return {"proposals": ends, "p_mean": [round(float(np.mean(part)), 4) for part in parts]}


# -- over the seeds ---------------------------------------------------------------------------------------------------


def interval(values: Sequence[float], *, resamples: int = 5000) -> dict[str, Any]:
    """n, mean, standard deviation, and the mean's 95 % percentile bootstrap interval."""
    array = np.asarray(values, dtype=float)
    means = np.random.default_rng(0).choice(array, (resamples, len(array))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    spread = round(float(array.std(ddof=1)), 4) if len(array) > 1 else None
    return {
        "n": len(array),
        "mean": round(float(array.mean()), 4),
        "std": spread,
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def summarise(runs: Sequence[Mapping[str, Any]], *, highest: float | None) -> list[dict[str, Any]]:
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
                name: interval([run[answer][name] for run in mine])
                for name in ("reward", "validation_accuracy", "connections")
            }
            if highest is not None:
                row[answer]["regret"] = interval([highest - run[answer]["reward"] for run in mine])
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


def compare_distributions(searched: Sequence[float], drawn: Sequence[float]) -> dict[str, Any]:
    """Fig. 4's question: Welch's t-test and the Mann-Whitney test of two samples of accuracies, both two-sided.

    Schemes drawn from one search depend on each other, so that the p-values say what they say of this search alone.

    Returns:
        the difference of the means, the probability that a searched scheme beats a random one (ties count half), and
        statistic and p of both tests; None where a test is undefined (all values equal, or a single one).
    """
    from scipy import stats  # takes a second to import

    searched, drawn = np.asarray(searched, dtype=float), np.asarray(drawn, dtype=float)
    rank = stats.mannwhitneyu(searched, drawn, alternative="two-sided")
    found: dict[str, Any] = {
        "difference": round(float(searched.mean() - drawn.mean()), 4),
        "wins": round(float(rank.statistic) / (len(searched) * len(drawn)), 4),
        "welch_t": None,
        "welch_p": None,
        "mann_whitney_u": float(rank.statistic),
        "mann_whitney_p": float(rank.pvalue) if np.ptp(np.r_[searched, drawn]) > 0 else None,
    }
    if min(len(searched), len(drawn)) > 1 and (np.ptp(searched) > 0 or np.ptp(drawn) > 0):
        moments = [(one.mean(), one.std(ddof=1), len(one)) for one in (searched, drawn)]
        welch = stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False)
        found |= {"welch_t": round(float(welch.statistic), 4), "welch_p": float(welch.pvalue)}
    return found
