"""What is said at the end of a search."""

from __future__ import annotations

import dataclasses

import pytest

from classification.task import ClassificationTask
from ean_core import Scheme
from ean_core.pipeline.pipeline import run_pipeline
from ean_core.pipeline.search_sentences import describe_controller, describe_error, describe_find
from ean_core.pipeline.task import Metric
from ean_core.search.history import HistoryLine, read_lines
from tests.pipeline.conftest import MakeJob

LINES = [
    HistoryLine(1, "000", 50.0, 1.0, evaluations=1, p=(0.5, 0.5, 0.5)),
    HistoryLine(2, "010", 75.0, 2.0, evaluations=2, p=(0.2, 0.9, 0.4)),
    HistoryLine(3, "010", 75.0, 2.0, new=False, evaluations=2, p=(0.1, 0.95, 0.1)),
    HistoryLine(4, "011", 60.0, 1.5, evaluations=3, p=(0.02, 0.97, 0.08), final=True),
]


def scheme(bits: str) -> Scheme:
    return Scheme.parse(bits, blocks=(1, 1, 1))


def test_when_the_scheme_was_found() -> None:
    assert describe_find(LINES, scheme("010")) == "The scheme was found at evaluation 2 of 3, in step 2 of 3."
    assert "the most probable one at its end, after 2 others were scored" in describe_find(LINES, scheme("011"))
    assert describe_find(LINES, scheme("111")) == ""


def test_how_uncertain_its_score_is() -> None:
    score = ClassificationTask.score
    sentence = describe_error(LINES, scheme("010"), score, 300)  # sqrt(0.75 x 0.25 / 300) = 0.025
    begin = "Its score, accuracy 75.00 % on 300 validation images, has a standard error of 2.50 points"
    assert sentence == f"{begin}; none of the other 2 scored schemes lies within that."
    perfect = [dataclasses.replace(line, accuracy=100.0) for line in LINES]
    assert describe_error(perfect, scheme("010"), score, 30).endswith(
        "is at the end of the scale, so that its standard error cannot be estimated; 2 of the other 2 scored schemes "
        "have the same score."
    )
    assert describe_error(LINES, scheme("010"), Metric("score", "score", "%"), 300) == ""


def test_whether_the_controller_settled() -> None:
    assert describe_controller(LINES).startswith("The controller has settled: ")
    assert "choice for a block with probability 0.96" in describe_controller(LINES)
    assert "has not settled" in describe_controller(LINES[:2])
    assert "probability 0.77" in describe_controller(LINES[:2])
    assert describe_controller([dataclasses.replace(line, p=None) for line in LINES]) == ""


def test_the_end_of_a_search_says_all_of_it(job: MakeJob, capsys: pytest.CaptureFixture) -> None:
    run = job("run")
    scheme = Scheme.load(run_pipeline(run, retrain=False))
    lines = read_lines(run.directory / "history.jsonl")
    printed = capsys.readouterr().out
    for sentence in (
        describe_find(lines, scheme),
        describe_error(lines, scheme, run.task.score, 40),
        describe_controller(lines),
    ):
        assert sentence
        assert sentence in printed
