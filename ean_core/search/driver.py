"""Runs a search method: propose, score, update, record. Resumes by replaying the recorded trials."""

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
"""Schemes that were not scored before -> their validation accuracies in percent."""


class OnStep(Protocol):
    """Called after every step with its number, its lines, and whether they come from the record."""

    def __call__(self, step: int, lines: Sequence[HistoryLine], *, replayed: bool) -> None: ...


class Afford(Protocol):
    """Called with a step's number and its proposals; returns the leading ones that the budget allows to score."""

    def __call__(self, step: int, proposed: Sequence[Scheme]) -> Sequence[Scheme]: ...


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search.

    Attributes:
        best: the trial with the highest reward (without curiosity); ties go to the fewest connections.
        most_probable: the trial of the method's most probable scheme at the end; None for methods without
            probabilities.
        proposals: number of schemes proposed, repetitions included.
        trials: one per distinct scheme, in the order in which they were first proposed.
    """

    best: Trial
    most_probable: Trial | None
    proposals: int
    trials: tuple[Trial, ...]

    @property
    def evaluations(self) -> int:
        """Number of distinct schemes scored."""
        return len(self.trials)

    @cached_property
    def smoothed(self) -> Trial:
        """The trial that is best after smoothing out evaluation noise (`smoothing.py`)."""
        rewards = [trial.reward for trial in self.trials]
        return self.trials[best_smoothed([trial.scheme.text for trial in self.trials], rewards)[0]]


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
    """Run `steps` steps, or until `max_evaluations` distinct schemes were scored.

    Every scheme is scored only once. The method's most probable scheme is scored at the end, which can be one more than
    `max_evaluations`. Recorded steps are replayed without scoring, so that a resumed search ends with the same scheme
    as an uninterrupted one.

    Args:
        method: fresh, with the seed and settings of the recorded steps if there are any.
        evaluate: scores schemes; must be deterministic.
        steps: T of Algorithm 1.
        reward: Eq. 7.
        history: where every proposal is recorded.
        max_evaluations: stop after the step that reaches this many distinct schemes.
        afford: for a budget that can end within a step; the method is not updated with an incomplete step.
        on_step: called after every step, such as for a progress bar.
    """
    if steps < 1:
        raise EANError(f"a search needs at least one step, got {steps}")
    trials = _Trials(evaluate, reward, scores={line.bits: float(line.accuracy) for line in history.lines})
    recorded, proposals = history.start_again(steps=steps), 0
    for step in range(1, steps + 1):
        lines, complete = _step(method, trials, step, afford)
        replayed = record_lines(history, lines, recorded)
        proposals += len(lines)
        if on_step is not None and lines:
            on_step(step, lines, replayed=replayed)
        if not complete:
            break
        if max_evaluations is not None and len(trials.proposed) >= max_evaluations:
            check_all_replayed(history, recorded, scored=len(trials.proposed), limit=max_evaluations)
            break

    final = None
    if (most_probable := method.most_probable()) is not None:
        (final,) = trials.score([most_probable])
        last = trials.line(step + 1, final, method, method.probabilities(), {})
        record_lines(history, [replace(last, final=True)], recorded)
    return SearchResult(trials.best, final, proposals=proposals, trials=tuple(trials.proposed.values()))


class _Trials:
    """The distinct schemes that a search has scored and proposed.

    Args:
        evaluate, reward: as `run_search` takes them.
        scores: bits -> accuracy, of schemes that need not be scored again.
    """

    def __init__(self, evaluate: Evaluate, reward: Reward, scores: dict[str, float]) -> None:
        self.evaluate, self.reward, self.scores = evaluate, reward, scores
        self.proposed: dict[str, Trial] = {}  # in the order in which they were first proposed

    def score(self, schemes: Sequence[Scheme]) -> list[Trial]:
        """The schemes' trials, in order; schemes scored before are not evaluated again."""
        scores, reward = self.scores, self.reward
        new = list({scheme.text: scheme for scheme in schemes if scheme.text not in scores}.values())
        scores.update(zip((scheme.text for scheme in new), self.evaluate(new) if new else [], strict=True))
        return [
            Trial(scheme, scores[scheme.text], reward.terms(scheme, scores[scheme.text]), reward.increment(scheme))
            for scheme in schemes
        ]

    def line(
        self, step: int, trial: Trial, method: SearchMethod, p: np.ndarray | None, bonus: dict[str, float]
    ) -> HistoryLine:
        """Mark a trial as proposed, and return its history line."""
        new = trial.scheme.text not in self.proposed
        self.proposed.setdefault(trial.scheme.text, trial)
        return history_line(step, trial, p, method.p_hat(trial.scheme), bonus, new=new, evaluations=len(self.proposed))

    @property
    def best(self) -> Trial:
        """The trial with the highest reward; ties go to the fewest connections."""
        return max(self.proposed.values(), key=lambda trial: (trial.reward, -trial.scheme.connections))


def _step(method: SearchMethod, trials: _Trials, step: int, afford: Afford | None) -> tuple[list[HistoryLine], bool]:
    """Propose, score and update; returns the step's lines, and whether all proposals were scored."""
    start = time.perf_counter()
    p, proposed = method.probabilities(), method.propose()
    affordable = proposed if afford is None else afford(step, proposed)
    scored = trials.score(affordable)
    lines = [trials.line(step, trial, method, p, method.bonus(trial.scheme)) for trial in scored]
    if complete := len(affordable) == len(proposed):
        method.update(scored)
    seconds = round((time.perf_counter() - start) / max(len(lines), 1), 4)
    return [replace(line, seconds=seconds) for line in lines], complete


def history_line(
    step: int,
    trial: Trial,
    p: np.ndarray | None,
    p_hat: np.ndarray | None,
    bonus: dict[str, float],
    *,
    new: bool,
    evaluations: int,
) -> HistoryLine:
    """A trial's history line; `p` are the probabilities it was drawn from, and `p_mean` is the mean p_hat of Fig. 5."""
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
    """Refuse to stop a search before its recorded steps have been replayed.

    Raises:
        EANError: if the record holds further steps.
    """
    if len(recorded) > len(history.lines):
        raise EANError(
            f"the recorded search continued after {scored} schemes: give a max_evaluations above {limit}, or choose "
            "another --work-dir"
        )


def record_lines(history: History, lines: list[HistoryLine], recorded: list[HistoryLine]) -> bool:
    """Record a step's lines unless they are recorded already; returns whether they were.

    If they differ from the record (another version or processor can round a draw differently), the record is replaced
    from here on; the scores that it held remain usable.
    """
    count = len(history.lines)
    old = recorded[count : count + len(lines)]
    if len(old) == len(lines) and all(a.bits == b.bits for a, b in zip(old, lines, strict=True)):
        history.lines.extend(old)
        return True
    if len(recorded) > count:
        history.truncate(count)
        recorded.clear()
    history.append(lines)
    return False
