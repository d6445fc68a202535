"""Trainings that diverge, as users start them, in all tasks: one sentence, and nothing that looks like a result."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ean_core.training.settings import RANGES
from segmentation.config_numbers import NUMBERS
from tests.conftest import Script
from tests.crowd_counting.conftest import TINY as COUNTER
from tests.crowd_counting.conftest import crowd_root  # noqa: F401 (a fixture)
from tests.helpers.tiny_recipe import TINY as RECIPE
from tests.segmentation.conftest import (
    SMALL,
    draw_voc,
    flags,
    quick,  # noqa: F401 (a fixture)
)

RESULTS = ("supernet.pth", "scheme.json", "history.jsonl", "classifier.pth", "result.json", "best.pth", "final.pth")


@pytest.fixture(autouse=True)
def any_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates at which a training diverges at once, which recipes refuse."""
    limits = (0, math.inf)
    monkeypatch.setitem(RANGES, "lr", limits)
    monkeypatch.setitem(NUMBERS, "optim_wrapper.optimizer.lr", (float, *limits))


def nothing_but_the_run(directory: Path) -> bool:
    """Whether a directory has no file that a finished part of a run would have left."""
    return directory.is_dir() and not [file for file in directory.rglob("*") if file.name in RESULTS]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("tools/search.py",), "supernet.lr=1e20"),
        (("tools/train_cls.py", "--scheme", "share-full"), "train.lr=1e20"),
        (("tools/train_cls.py", "--scheme", "org"), "train.lr=1e38"),
    ],
)
def test_classification(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], option: str
) -> None:
    (tmp_path / "tiny.py").write_text(RECIPE)
    name, *rest = command
    assert script(name, "tiny.py", *rest, "--work-dir", "w", "--cfg-options", option) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: training diverged: loss is ")
    assert "step 2, with a learning rate of " in message
    assert nothing_but_the_run(tmp_path / "w")


@pytest.mark.parametrize("part", ["supernet", "train"])
def test_the_last_step_is_too_late_for_a_loss(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str
) -> None:
    """One step: its loss is finite, and what it leaves is not."""
    (tmp_path / "tiny.py").write_text(RECIPE)
    options = (f"{part}.lr=1e38", f"{part}.epochs=1", f"{part}.batch_size=80", "supernet.val_interval=0")
    name = ("tools/search.py",) if part == "supernet" else ("tools/train_cls.py", "--scheme", "org")
    assert script(name[0], "tiny.py", *name[1:], "--work-dir", "w", "--cfg-options", *options) == 2
    assert "diverged" in capsys.readouterr().err
    assert not [file for file in (tmp_path / "w").rglob("*") if file.name in RESULTS and file.name != "supernet.pth"]


def test_counting(
    script: Script,
    crowd_root: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [*COUNTER]
    options[options.index("--lr") + 1] = "1e20"
    work = tmp_path / "run"
    assert (
        script("crowd_counting/train.py", "--part", "A", "--data-root", crowd_root, "--work-dir", work, *options) == 2
    )
    assert "error: training diverged: " in capsys.readouterr().err
    assert nothing_but_the_run(work)


@pytest.mark.parametrize("steps", [4, 1])
def test_segmentation(script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: int) -> None:
    draw_voc(tmp_path / "data")
    options = flags(optim_wrapper__optimizer__lr=1e20, train_cfg__max_iters=steps, train_cfg__val_interval=steps)
    assert script("tools/train.py", SMALL, "--work-dir", "run", *options) == 2
    message = capsys.readouterr().err
    assert "diverged" in message
    assert nothing_but_the_run(tmp_path / "run")
