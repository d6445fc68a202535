"""A search by two processes, for the tests of every task that is searched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ean_core import Scheme
from ean_core.io.records import read_record
from ean_core.pipeline.job import Job
from ean_core.pipeline.pipeline import run_pipeline
from ean_core.pipeline.retrain import make_target, train_network
from ean_core.search.history import read_lines

SCHEMES = [Scheme.all_on((3, 3, 3)), Scheme.all_off((3, 3, 3))]


def search_and_train(job: Job, rank: int, directory: Path) -> None:
    """One of the two processes: search and train Org in directory/two, and write its scores to rank{rank}.json."""
    run_pipeline(job, retrain=False)
    train_network(job, make_target(job, "org"), seed=0)
    scored = job.task.make_scorer(job.task.load_supernet(directory / "two/supernet.pth"))
    (directory / f"rank{rank}.json").write_text(json.dumps(scored(SCHEMES)))


def check_search(job: Job, directory: Path) -> None:
    """Both scored alike and as a single process scores, and the first one alone has written.

    Args:
        job: of a single process.
        directory: of `search_and_train`.
    """
    task = job.task
    first, second = (json.loads((directory / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    scores = task.make_scorer(task.load_supernet(directory / "two/supernet.pth"))
    assert scores(SCHEMES) == pytest.approx(first, abs=1e-3)
    history = read_lines(directory / "two/history.jsonl")
    assert len([line for line in history if not line.final]) == 8  # four steps of two schemes, written once
    record = read_record(directory / "two/org-seed0/result.json")
    assert record["environment"]["processes"] == 2
    trained = task.load_network(directory / "two/org-seed0" / task.network_file)
    key = task.metrics[0].key
    assert record["metrics"][key] == pytest.approx(task.evaluate(trained, batch_size=1)[key])
