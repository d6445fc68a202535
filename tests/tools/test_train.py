"""tools/train.py and tools/test.py hand over to the task of the config."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from ean_core.utils import task_registry
from tests.conftest import ROOT, Script

CONFIGS = {task: next((ROOT / task / "configs").glob("*.py")) for task in task_registry.all_tasks()}


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """The commands that are called, in place of what they do."""
    calls: list[tuple] = []

    def recording(*names: str) -> Callable[[list[str]], None]:
        return lambda argv: calls.append((*names, list(argv)))

    for name, entry in task_registry.all_tasks().items():
        replaced = {command: recording(name, command) for command in ("train", "test") if getattr(entry, command)}
        monkeypatch.setitem(task_registry._TASKS, name, dataclasses.replace(entry, **replaced))
    return calls


@pytest.mark.parametrize("task", CONFIGS)
def test_a_config_is_trained_by_its_task(tool: Script, called: list[tuple], task: str) -> None:
    assert tool("train", CONFIGS[task], "--epochs", 3, "--help") == 0
    assert called == [(task, "train", [str(CONFIGS[task]), "--epochs", "3", "--help"])]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_checkpoint_is_tested_by_its_configs_task(tool: Script, called: list[tuple], task: str) -> None:
    assert tool("test", CONFIGS[task], "last.pth") == 0
    assert called == [(task, "test", [str(CONFIGS[task]), "last.pth"])]


def test_a_task_with_a_test_command_of_its_own_names_it(refused: Callable[..., str]) -> None:
    told = refused("test", CONFIGS["crowd_counting"], "best.pth")
    assert "is a configuration of crowd_counting: python crowd_counting/test.py CHECKPOINT --part A" in told


def test_options_of_another_task_are_refused(tool: Script, capsys: pytest.CaptureFixture) -> None:
    assert tool("test", CONFIGS["classification"], "classifier.pth", "--tta") == 2
    assert "unrecognized arguments: --tta" in capsys.readouterr().err
    assert tool("train", CONFIGS["segmentation"], "--scheme", "org") == 2
    assert "unrecognized arguments: --scheme org" in capsys.readouterr().err


def test_a_search_on_a_task_without_one_is_refused(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = dataclasses.replace(task_registry.get_task("segmentation"), start_job=None)
    monkeypatch.setitem(task_registry._TASKS, "segmentation", entry)
    assert "of segmentation, which has no search: give another" in refused("search", CONFIGS["segmentation"])
