"""Runs a search method: propose, score, update, record; resumes by telling the method its recorded trials again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.history import History, HistoryLine
from ean_core.search.reward import Reward
from ean_core.search.smoothing import best_smoothed
from ean_core.utils.errors import EANError

Evaluate = Callable[[Sequence[Scheme]], list[float]]
"""Validation accuracies in percent of some schemes, none of which was asked for before."""


class OnStep(Protocol):
    """Called after every step with its number, its lines, and whether they come from the record."""

    def __call__(self, step: int, lines: Sequence[HistoryLine], *, replayed: bool) -> None: ...


class Afford(Protocol):
    """Called with a step's number and its proposals; gives the first of them, those that are to be scored."""

    def __call__(self, step: int, proposed: Sequence[Scheme]) -> Sequence[Scheme]: ...


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: the trial with the highest reward (curiosity left out); among equals the one with fewest connections.
        most_probable: the trial of the method's most probable scheme at the end; None for methods without
            probabilities.
        proposals: schemes proposed.
        trials: of the different schemes scored, in the order in which they were first proposed.
    """

    best: Trial
    most_probable: Trial | None
    proposals: int
    trials: tuple[Trial, ...]

    @property
    def evaluations(self) -> int:
        """Different schemes scored."""
        return len(self.trials)

    @cached_property
    def smoothed(self) -> Trial:
        """The trial with the highest reward once chance is taken out (`smoothing.py`)."""
        rewards = [trial.reward for trial in self.trials]
        return self.trials[best_smoothed([trial.scheme.text for trial in self.trials], rewards)]


def run_search(
    method: SearchMethod,
    evaluate: Evaluate,
    *,
    steps: int,
    reward: Reward,
    history: History,
    max_evaluations: int | None = None,
    afford: Afford | None = None,
    on_step: OnStep | None = None,
) -> SearchResult:
    """Run `steps` steps, or until `max_evaluations` different schemes were scored.

    Every scheme is scored once and remembered; the method's most probable scheme is scored at the end, which can be one
    more than `max_evaluations`. Steps that the history holds are replayed, which costs no scoring: so an interrupted
    search ends with the scheme that an uninterrupted one would have found.

    Args:
        method: fresh, with the seed and settings of the recorded steps if there are any.
        evaluate: scores schemes; must be deterministic.
        steps: T of Algorithm 1.
        reward: Eq. 7.
        history: where every proposal is recorded.
        max_evaluations: stop after the step in which this many were reached.
        afford: for a budget that ends within a step, of which the method then learns nothing.
        on_step: hears of every step, for a progress bar.
    """
    if steps < 1:
        raise EANError(f"a search needs at least one step, got {steps}")
    trials = _Trials(evaluate, reward, known={line.bits: float(line.accuracy) for line in history.lines})
    recorded, proposals = history.start_again(steps=steps), 0
    for step in range(1, steps + 1):
        lines, whole = _step(method, trials, step, afford)
        replayed = keep(history, lines, recorded)
        proposals += len(lines)
        if on_step is not None and lines:
            on_step(step, lines, replayed=replayed)
        if not whole:
            break
        if max_evaluations is not None and len(trials.proposed) >= max_evaluations:
            check_all_replayed(history, recorded, scored=len(trials.proposed), limit=max_evaluations)
            break

    final = None
    if (most_probable := method.most_probable()) is not None:
        (final,) = trials.score([most_probable])
        last = trials.line(step + 1, final, method, method.probabilities(), {})
        keep(history, [replace(last, final=True)], recorded)
    return SearchResult(trials.best, final, proposals=proposals, trials=tuple(trials.proposed.values()))


class _Trials:
    """What a search has scored and proposed, every scheme once.

    Args:
        evaluate, reward: as `run_search` takes them.
        known: bits -> accuracy, of schemes that need not be scored again.
    """

    def __init__(self, evaluate: Evaluate, reward: Reward, known: dict[str, float]) -> None:
        self.evaluate, self.reward, self.memory = evaluate, reward, known
        self.proposed: dict[str, Trial] = {}  # in the order in which they were first proposed

    def score(self, schemes: Sequence[Scheme]) -> list[Trial]:
        """The schemes' trials, in their order; what is known costs nothing."""
        memory, reward = self.memory, self.reward
        unseen = list({scheme.text: scheme for scheme in schemes if scheme.text not in memory}.values())
        memory.update(zip((scheme.text for scheme in unseen), self.evaluate(unseen) if unseen else [], strict=True))
        return [
            Trial(one, memory[one.text], reward.terms(one, memory[one.text]), reward.increment(one)) for one in schemes
        ]

    def line(
        self, step: int, trial: Trial, method: SearchMethod, p: np.ndarray | None, bonus: dict[str, float]
    ) -> HistoryLine:
        """The history line of a proposal, which counts as proposed from now on."""
        new = trial.scheme.text not in self.proposed
        self.proposed.setdefault(trial.scheme.text, trial)
        return line_of(step, trial, p, method.p_hat(trial.scheme), bonus, new=new, evaluations=len(self.proposed))

    @property
    def best(self) -> Trial:
        """The highest reward; among equals the one with fewest connections."""
        return max(self.proposed.values(), key=lambda trial: (trial.reward, -trial.scheme.connections))


def _step(method: SearchMethod, trials: _Trials, step: int, afford: Afford | None) -> tuple[list[HistoryLine], bool]:
    """Propose, score, and let the method learn; the step's lines, and whether all of the proposals were scored."""
    start = time.perf_counter()
    p, proposed = method.probabilities(), method.propose()
    paid = proposed if afford is None else afford(step, proposed)
    scored = trials.score(paid)
    lines = [trials.line(step, trial, method, p, method.bonus(trial.scheme)) for trial in scored]
    if whole := len(paid) == len(proposed):
        method.update(scored)
    seconds = round((time.perf_counter() - start) / max(len(lines), 1), 4)
    return [replace(line, seconds=seconds) for line in lines], whole


def line_of(
    step: int,
    trial: Trial,
    p: np.ndarray | None,
    p_hat: np.ndarray | None,
    bonus: dict[str, float],
    *,
    new: bool,
    evaluations: int,
) -> HistoryLine:
    """A history line. `p` are the probabilities the scheme was drawn from, `p_mean` the mean p_hat of Fig. 5."""
    has_probabilities = p is not None and p_hat is not None
    return HistoryLine(
        step=step,
        bits=trial.scheme.text,
        accuracy=trial.accuracy,
        reward=round(trial.reward, 6),
        terms={name: round(value, 6) for name, value in {**trial.terms, **bonus}.items()},
        connections=trial.scheme.connections,
        new=new,
        evaluations=evaluations,
        increment=None if trial.increment is None else round(trial.increment, 6),
        p=tuple(np.round(p, 4).tolist()) if has_probabilities else None,
        p_mean=round(float(np.mean(p_hat)), 6) if has_probabilities else None,
    )


def check_all_replayed(history: History, recorded: list[HistoryLine], *, scored: int, limit: int) -> None:
    """Refuse to stop where the record goes on.

    Raises:
        EANError: if it does.
    """
    if len(recorded) > len(history.lines):
        raise EANError(
            f"the recorded search went on after {scored} schemes: give a max_evaluations above {limit}, or another "
            "--work-dir"
        )


def keep(history: History, lines: list[HistoryLine], recorded: list[HistoryLine]) -> bool:
    """Record a step's lines, unless the record has them already; says whether it had.

    If the record says otherwise (other versions or another processor can round a draw differently), what it holds
    from here on is replaced; the scores in it were read before and stay known.
    """
    done = len(history.lines)
    old = recorded[done : done + len(lines)]
    if len(old) == len(lines) and all(a.bits == b.bits for a, b in zip(old, lines, strict=True)):
        history.lines.extend(old)
        return True
    if len(recorded) > done:
        history.cut(done)
        recorded.clear()
    history.append(lines)
    return False
