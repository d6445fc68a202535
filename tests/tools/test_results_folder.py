"""Test commands look at where they are to write before they work, and print before they write."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from crowd_counting import evaluation
from ean_core import EANError
from tests.conftest import ROOT, Script

COMMANDS = {
    "classification": (
        *("tools/test.py", "classification/configs/quickstart_digits.py", "none.pth"),
        *("--data-root", "no_such_folder"),
    ),
    "crowd_counting": ("crowd_counting/test.py", "none.pth", "--part", "A"),
}


@pytest.mark.parametrize("task", COMMANDS)
def test_a_folder_that_cannot_be_written_to_is_refused_first(
    task: str, script: Script, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Before checkpoint and data, of which there are none here."""
    name, *arguments = COMMANDS[task]
    if task == "classification":
        arguments[0] = str(ROOT / arguments[0])
    (tmp_path / "file").touch()
    assert script(name, *arguments, "--out-dir", "file/results") == 2
    assert "file/results cannot be read or written" in capsys.readouterr().err


def test_figures_are_printed_though_they_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "best.pth"
    file.touch()
    data = SimpleNamespace(name="demo", test=(), note=None, fingerprint=lambda: "ab")
    content = {"epoch": 1, "recipe": {}}
    figures = {**dict.fromkeys(evaluation.KEYS, 12.25), "by_count": []}
    with (
        patch.object(evaluation, "score_file", return_value=([], content)),
        patch.object(evaluation, "test_figures", return_value=figures),
        patch.object(evaluation, "write_atomic", side_effect=OSError(30, "Read-only file system")),
        pytest.raises(OSError, match="Read-only"),
    ):
        evaluation.score_files([file], data, tmp_path)
    assert "12.2" in capsys.readouterr().out


def test_a_counters_results_are_not_replaced_by_another_ones(tmp_path: Path) -> None:
    file = tmp_path / "best.pth"
    data = SimpleNamespace(name="demo", test=(), note=None, fingerprint=lambda: "ab")
    figures = {**dict.fromkeys(evaluation.KEYS, 12.25), "by_count": []}
    with (
        patch.object(evaluation, "score_file", return_value=([], {"epoch": 1, "recipe": {}})),
        patch.object(evaluation, "test_figures", return_value=figures),
    ):
        file.write_bytes(b"one")
        evaluation.score_files([file], data, tmp_path)
        evaluation.score_files([file], data, tmp_path)
        before = (tmp_path / "test.json").read_bytes()
        file.write_bytes(b"another")
        with pytest.raises(EANError, match="best_images.csv holds a result of checkpoint"):
            evaluation.score_files([file], data, tmp_path)
    assert (tmp_path / "test.json").read_bytes() == before
