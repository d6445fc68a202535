"""Files that version 0.1 wrote: they load, and runs that it began go on, with the outcome that it had.

How they were made: `files_of_version_0_1/make.py`.
"""

from __future__ import annotations

import math
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from ean_core import Scheme
from ean_core.networks import ARCHITECTURES
from ean_core.training.state import read_state
from tests.conftest import ROOT, Script
from tests.files_of_version_0_1.architecture import tiny
from tests.files_of_version_0_1.outcomes import (
    classification_outcome,
    counting_outcome,
    counts,
    probabilities,
    read_json,
    segmentation_outcome,
)
from tests.helpers.archives import extract_all

FILES = ROOT / "tests" / "files_of_version_0_1"
Unpack = Callable[[str], dict[str, Any]]


@pytest.fixture(autouse=True)
def tiny_architecture() -> Iterator[None]:
    """The files' architecture, known as long as a test runs."""
    with patch.dict(ARCHITECTURES, {"tiny": tiny()}):
        yield


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """`unpack("counting")` puts a task's files into the test's directory and gives what version 0.1 found in them."""

    def start(task: str) -> dict[str, Any]:
        with tarfile.open(FILES / f"{task}.tar.xz") as archive:
            extract_all(archive, tmp_path)
        for recipe in ("tiny.py", "counting.py"):
            shutil.copy(FILES / recipe, tmp_path)
        return read_json(FILES / "expected.json")[task]

    return start


def check_near(found: Any, wanted: Any, *, rel: float, name: str = "") -> None:
    """Nested values: numbers up to a relative difference (or as little beside 1), all else equal."""
    if isinstance(wanted, dict):
        assert set(found) >= set(wanted), name  # fields may have been added since
        for key, value in wanted.items():
            check_near(found[key], value, rel=rel, name=f"{name}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), name
        for number, pair in enumerate(zip(found, wanted, strict=True)):
            check_near(*pair, rel=rel, name=f"{name}[{number}]")
    elif isinstance(wanted, float):
        assert math.isclose(found, wanted, rel_tol=rel, abs_tol=rel), f"{name}: {found} is not {wanted}"
    else:
        assert found == wanted, name


def without_top1(outcome: dict[str, Any]) -> dict[str, Any]:
    """Without what one image taken otherwise changes by a fifth of a percent."""
    rows = {network: row[:2] for network, row in outcome["table"].items()}
    return {**{name: value for name, value in outcome.items() if name != "top1"}, "table": rows}


def check_outcome(directory: Path, wanted: dict[str, Any]) -> None:
    """A resumed search: rounding differs between computers, and an image in 500 may then be taken otherwise."""
    outcome = classification_outcome(directory)
    check_near(without_top1(outcome), without_top1(wanted), rel=1e-3)
    for name, top1 in wanted["top1"].items():
        assert outcome["top1"][name] == pytest.approx(top1, abs=0.61), name


def test_a_finished_searchs_files_load(unpack: Unpack, tmp_path: Path) -> None:
    wanted, run = unpack("classification"), tmp_path / "classification/finished"
    check_near(classification_outcome(run), wanted, rel=1e-5)
    scheme = Scheme.load(run / "scheme.json")
    assert str(scheme) == "00 | 0 | 1"
    exported = probabilities(tmp_path / "classification/classifier.safetensors")
    check_near(exported, wanted["networks"]["ean-888b19-seed0"], rel=1e-5)


def test_a_finished_search_resumed_is_shown_again(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    wanted, run = unpack("classification"), tmp_path / "classification/finished"
    before = {path: path.read_bytes() for path in sorted(run.rglob("*.pth"))}
    assert script("tools/search.py", "tiny.py", "--work-dir", run, "--resume") == 0
    assert {path: path.read_bytes() for path in sorted(run.rglob("*.pth"))} == before
    check_near(classification_outcome(run), wanted, rel=1e-5)


def test_a_search_killed_while_the_supernet_was_trained_goes_on(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    """With the search of now, whose random numbers are others."""
    wanted, run = unpack("classification"), tmp_path / "classification/interrupted_supernet"
    assert script("tools/search.py", "tiny.py", "--work-dir", run, "--resume") == 0
    outcome = classification_outcome(run)
    check_near(outcome["supernet"], wanted["supernet"], rel=1e-3)
    check_near(outcome["networks"]["org-seed0"], wanted["networks"]["org-seed0"], rel=1e-3)
    assert len(outcome["history"]) == len(wanted["history"])


def test_a_search_killed_in_the_middle_is_kept_as_it_is(
    unpack: Unpack, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 0.1 drew other random numbers, so that its search cannot be replayed."""
    unpack("classification")
    run = tmp_path / "classification/finished"
    (run / "scheme.json").unlink()
    lines = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text("".join(lines[:5]) + lines[5][:20])  # the last line is cut, as by a kill
    before = (run / "history.jsonl").read_bytes()
    assert script("tools/search.py", "tiny.py", "--work-dir", run, "--resume", "--no-retrain") == 2
    assert "unfinished search by an earlier version" in capsys.readouterr().err
    assert (run / "history.jsonl").read_bytes() == before


def test_a_search_killed_while_a_network_was_retrained_goes_on(
    unpack: Unpack, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, run = unpack("classification"), tmp_path / "classification/interrupted_retraining"
    assert script("tools/search.py", "tiny.py", "--work-dir", run, "--resume") == 0
    printed = capsys.readouterr().out
    assert "ean seed 0 24/24" in printed
    assert "ean seed 0 1/24" not in printed, "it began again"
    check_outcome(run, wanted)


def test_another_run_is_not_mixed_with_an_older_one(
    unpack: Unpack, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack("classification")
    run = tmp_path / "classification/interrupted_supernet"
    assert script("tools/search.py", "tiny.py", "--work-dir", run, "--resume", "--cfg-options", "supernet.lr=0.5") == 2
    assert "supernet.lr = 0.1, and this run has 0.5" in capsys.readouterr().err


def test_an_older_comparison_keeps_its_scores_and_searches_again(
    unpack: Unpack, tmp_path: Path, script: Script
) -> None:
    unpack("classification")
    folder, run = tmp_path / "classification", tmp_path / "classification/finished"
    shutil.copytree(folder / "comparison", run / "comparison")
    scores = (run / "comparison/scores.jsonl").read_text()
    before = read_json(run / "comparison/comparison.json")["metrics"]
    flags = ("--methods", "random,ean", "--seeds", 1, "--evaluations", 5, "--proposals", 8, "--samples", 0)
    assert script("tools/search.py", "tiny.py", "--work-dir", run, "--resume", *flags, "--no-exhaustive") == 0
    assert (run / "comparison/scores.jsonl").read_text().startswith(scores), "scored again"
    after = read_json(run / "comparison/comparison.json")["metrics"]
    for name in ("all_on", "all_off"):
        check_near(after[name], before[name], rel=1e-5)
    assert [run["method"] for run in after["runs"]] == [run["method"] for run in before["runs"]]


def test_an_older_scheme_trains_a_network(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    unpack("classification")
    scheme = tmp_path / "classification/finished/scheme.json"
    options = ("--work-dir", tmp_path / "run", "--cfg-options", "train.epochs=1")
    assert script("tools/train_cls.py", "tiny.py", "--scheme", scheme, *options) == 0
    (result,) = (tmp_path / "run").rglob("result.json")
    assert read_json(result)["metrics"]["scheme"] == "00 | 0 | 1"


def test_older_counters_count(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    wanted, run = unpack("counting"), tmp_path / "counting/finished"
    assert counting_outcome(run) == {name: wanted[name] for name in ("best", "final")}
    data = ("--annotations", "data/crowd/points.csv", "--out-dir", "tested")
    assert script("crowd_counting/test.py", "counting/finished/seed0", *data) == 0
    for name in ("best", "final"):
        check_near(counts(tmp_path / f"tested/{name}_images.csv"), wanted["counts"][name], rel=1e-4)
    tested, was = (read_json(tmp_path / file)["metrics"] for file in ("tested/test.json", "counting/test/test.json"))
    check_near(tested["final"], was["final"], rel=1e-4)


def test_a_counter_killed_in_its_last_epoch_goes_on(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    wanted = unpack("counting")
    data = ("--annotations", "data/crowd/points.csv", "--work-dir", "counting/interrupted", "--resume")
    assert script("crowd_counting/train.py", "counting.py", *data) == 0
    outcome = counting_outcome(tmp_path / "counting/interrupted")
    check_near(outcome, {name: wanted[name] for name in ("best", "final")}, rel=1e-3)


def test_a_segmentor_killed_before_its_last_step_goes_on(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    wanted, run = unpack("segmentation"), tmp_path / "segmentation/interrupted"
    options = (FILES / "segmentation_options.txt").read_text().split()
    config = ROOT / "segmentation/configs/ean_se_voc_small.py"
    assert read_state(run / "last.pth")["meta"]["iter"] < 4
    assert script("tools/train.py", config, "--work-dir", run, "--resume", "--cfg-options", *options) == 0
    torch.manual_seed(0)
    dropped = torch.nn.functional.dropout2d(torch.ones(1, 8, 1, 1), 0.1).flatten() == 0
    same = dropped.nonzero().flatten().tolist() == [0, 3]  # other versions of torch draw other masks from one seed
    check_near(segmentation_outcome(run), wanted, rel=1e-3 if same else 0.05)


def test_older_records_are_shown(unpack: Unpack, tmp_path: Path, script: Script) -> None:
    records, seen = tmp_path / "records", set()
    records.mkdir()
    for task in ("classification", "counting", "segmentation"):
        unpack(task)
        for file in sorted((tmp_path / task).rglob("*.json")):
            content = read_json(file)
            if isinstance(content, dict) and "kind" in content:
                seen.add(content["kind"])
                shutil.copy(file, records / f"{content['kind']}_{file.parent.name}_{file.name}")
    assert seen >= {
        "pipeline",
        "train",
        "test",
        "search-comparison",
        "counting",
        "segmentation-run",
        "segmentation-test",
    }
    runs = ("classification/finished", "counting/finished", "segmentation/finished")
    assert script("tools/report.py", "--html", "report.html", *runs, "--results", records) == 0
    page = (tmp_path / "report.html").read_text()
    for figure in ("5,099", "28.17"):
        assert figure in page, figure
