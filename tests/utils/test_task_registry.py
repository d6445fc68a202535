"""The registry of tasks: found installed or not, and never by name."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from crowd_counting.model.counter_file import save_counter
from crowd_counting.model.network import CounterSpec
from ean_core import EANError
from ean_core.utils import task_registry
from ean_core.utils.task_registry import TaskEntry, all_tasks, get_loader, get_task, task_of_config
from tests.helpers.processes import ROOT, run_warm


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that knows no task yet."""
    monkeypatch.setattr(task_registry, "_TASKS", {})
    monkeypatch.setattr(task_registry, "_LOADERS", {})
    monkeypatch.setattr(task_registry, "_register_entry_points", task_registry._register_entry_points.__wrapped__)


@pytest.mark.usefixtures("fresh")
def test_a_checkout_that_is_not_installed_registers_its_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_registry, "entry_points", lambda group: [])
    assert list(all_tasks()) == ["classification", "crowd_counting", "segmentation"]
    assert get_loader("ean-counter-1") is not None
    assert get_loader("ean-segmentor-1") is not None
    assert get_loader("ean-unheard-of-1") is None


def register_made_up() -> None:
    """What another package's entry point names."""
    task_registry.register_task(TaskEntry("made_up", "made_up/configs", lambda config: "pose" in config, train=print))


@pytest.mark.usefixtures("fresh")
def test_an_installed_package_registers_its_task(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    point = EntryPoint("made_up", f"{__name__}:register_made_up", task_registry.GROUP)
    monkeypatch.setattr(task_registry, "entry_points", lambda group: [point])
    assert get_task("made_up").train is print
    (tmp_path / "pose.py").write_text("pose = dict(joints=17)\ndata = dict(name='coco')\n")
    monkeypatch.setattr(task_registry, "_declared_in_checkout", dict)
    task_registry._TASKS.clear()
    assert task_of_config(tmp_path / "pose.py").name == "made_up"
    (tmp_path / "other.py").write_text("data = dict(name='cifar100')\n")
    with pytest.raises(EANError, match=r"other.py is not a configuration for any of made_up: see .* made_up/configs/"):
        task_of_config(tmp_path / "other.py")


@pytest.mark.usefixtures("fresh")
def test_a_task_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("gone", "a_package_that_is_gone:register", task_registry.GROUP)
    monkeypatch.setattr(task_registry, "entry_points", lambda group: [point])
    with pytest.raises(EANError, match="task 'gone' .* cannot be imported .*: reinstall or uninstall its package"):
        all_tasks()


def test_every_config_has_one_task() -> None:
    from mmengine.config import Config

    for name, entry in all_tasks().items():
        for path in (ROOT / entry.configs).glob("*.py"):
            config = Config.fromfile(path, import_custom_modules=False)
            assert [task.name for task in all_tasks().values() if task.recognizes(config)] == [name], path
    with pytest.raises(EANError, match="unknown task 'segmentatoin': .*did you mean 'segmentation'"):
        get_task("segmentatoin")


def test_the_command_that_uses_a_network_has_its_config_where_it_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = {name: task.predict_words("a.pth", config="c.py", options=["b=1"]) for name, task in all_tasks().items()}
    assert words == {
        "classification": ["python", "tools/predict.py", "a.pth", "PHOTO.jpg"],
        "crowd_counting": ["python", "crowd_counting/predict.py", "a.pth", "PHOTO.jpg"],
        "segmentation": ["python", "segmentation/predict.py", "c.py", "a.pth", "PHOTO.jpg", "--cfg-options", "b=1"],
    }


def test_plain_python_loads_a_counter_in_a_checkout(tmp_path: Path) -> None:
    """Nothing but `ean_core` is imported by the user."""
    spec = CounterSpec(arch="resnet20", attention="se")
    path = tmp_path / "best.pth"
    save_counter(path, spec.build(), spec, mean=[0.5] * 3, std=[0.25] * 3)
    program = (
        "import sys\nfrom ean_core.inference.loaded_model import load_file\n"
        "assert not any(name.startswith('crowd_counting') for name in sys.modules)\n"
        "print(load_file(sys.argv[1], device='cpu').kind)"
    )
    done = run_warm("-c", program, path, directory=tmp_path)
    assert done.stdout.strip() == "counter", done.stderr
