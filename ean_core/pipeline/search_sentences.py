"""The end of a search in words: when its scheme was found, how uncertain a score is, whether the controller settled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ean_core.pipeline.job import Job
from ean_core.pipeline.task import Metric
from ean_core.scheme import Scheme
from ean_core.search.history import HistoryLine, read_lines
from ean_core.utils.intervals import binomial_error
from ean_core.utils.text import how_many

SETTLED = 0.9
"""A controller that is at least so sure of its choices, on average over the blocks, has settled."""


def describe_search(job: Job) -> list[str]:
    """The sentences on the finished search in the job's directory."""
    lines = read_lines(job.directory / "history.jsonl")
    scheme = Scheme.load(job.directory / "scheme.json")
    score, images = job.task.score, job.task.count_validation_images()
    sentences = [describe_find(lines, scheme), describe_error(lines, scheme, score, images), describe_controller(lines)]
    return [sentence for sentence in sentences if sentence]


def describe_find(lines: Sequence[HistoryLine], scheme: Scheme) -> str:
    """At which evaluation the scheme was found."""
    total = lines[-1].evaluations
    first = next((line for line in lines if line.bits == scheme.text), None)
    if first is None:
        return ""
    if first.final:
        return (
            "The scheme was never proposed during the search: it is the most probable one at its end, after "
            f"{total - 1:,} others were scored."
        )
    last = max(line.step for line in lines if not line.final)
    return f"The scheme was found at evaluation {first.evaluations:,} of {total:,}, in step {first.step:,} of {last:,}."


def describe_error(lines: Sequence[HistoryLine], scheme: Scheme, score: Metric, images: int) -> str:
    """How uncertain the scheme's score is, from the number of images alone (binomial)."""
    scores = {line.bits: line.accuracy for line in lines}
    value = scores.pop(scheme.text, None)
    if value is None or not score.proportion:
        return ""
    error = binomial_error(value, images)
    near = sum(abs(other - value) <= error for other in scores.values())
    start = f"Its score, {score.name} {value:.2f} {score.unit} on {images:,} validation images"
    others = f"{near or 'none'} of the other {how_many(len(scores), 'scored scheme')}"
    if not error:  # all images right, or none
        have = "has" if near <= 1 else "have"
        return (
            f"{start}, is at the end of the scale, so that its standard error cannot be estimated; {others} {have} the "
            "same score."
        )
    lies = "lies" if near <= 1 else "lie"
    return f"{start}, has a standard error of {error:.2f} points; {others} {lies} within that."


def describe_controller(lines: Sequence[HistoryLine]) -> str:
    """Whether the probabilities left one half; "" for methods without."""
    p = next((line.p for line in reversed(lines) if line.p is not None), None)
    if p is None:
        return ""
    sure = 0.5 + float(np.mean(np.abs(np.asarray(p) - 0.5)))
    settled = "has settled" if sure >= SETTLED else "has not settled"
    return (
        f"The controller {settled}: on average it makes the likelier choice for a block with probability {sure:.2f} "
        "(0.5 is a coin toss, 1 is certain)."
    )
