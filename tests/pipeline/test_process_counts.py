"""The number of processes of each training is recorded, and said where networks of one table differ in it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ean_core.io import records
from ean_core.io.records import processes_note, processes_of, write_record
from ean_core.pipeline.summary import print_files, processes
from ean_core.report import report_all
from tests.helpers import report_records as made


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Org, trained by two processes and then by one; EAN, by one; and what an earlier version trained."""

    def network(label: str, *counts: int) -> Any:
        directories = [tmp_path / f"{label}-seed{seed}" for seed in range(len(counts))]
        for directory, count in zip(directories, counts, strict=True):
            monkeypatch.setattr(records, "rank_and_world", lambda count=count: (0, count))
            write_record(directory / "result.json", kind="train", settings={}, metrics={})
        return SimpleNamespace(target=SimpleNamespace(label=label), directories=directories, files=directories)

    networks = [network("org", 2, 1), network("ean", 1), network("old", 1)]
    path = networks[2].directories[0] / "result.json"
    content = json.loads(path.read_text())
    del content["environment"]["processes"]
    path.write_text(json.dumps(content))
    return networks


def test_the_table_says_that_networks_were_not_trained_alike(trained: list[Any], capsys: pytest.CaptureFixture) -> None:
    assert [processes(trained_network) for trained_network in trained] == [(2, 1), (1,), ()]
    print_files(trained)
    assert "note: Trained by different numbers of processes (org 1/2, ean 1)" in capsys.readouterr().out
    print_files(trained[1:])
    assert "note" not in capsys.readouterr().out


def test_what_is_not_known_is_no_difference(tmp_path: Path) -> None:
    assert processes_of(tmp_path) is None
    assert processes_note({"a": [], "b": [1]}) is None
    assert processes_note({"a": [4], "b": [4, 4]}) is None


def test_the_report_says_it_too(tmp_path: Path) -> None:
    results = made.new_directory(tmp_path / "results")
    path = made.pipeline(results / "run.json")
    assert "numbers of processes" not in report_all(results)
    content = json.loads(path.read_text())
    for row, counts in zip(content["metrics"], ([2, 2], [1, 1], [1]), strict=True):
        row["processes"] = counts
    path.write_text(json.dumps(content))
    assert "Trained by different numbers of processes (Org 2, Share-full 1, EAN 1)" in report_all(results)
