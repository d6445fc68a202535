"""A recipe that runs in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from classification.job import Job
from classification.recipe import Recipe

TINY = """
model = dict(arch="resnet20", attention="se")
data = dict(name="digits", train_per_class=12, val_per_class=4, augment=dict(crop_padding=1, flip=False))
supernet = dict(epochs=3, batch_size=20, lr=0.05, val_interval=2)
search = dict(steps=8, options=dict(schemes_per_step=2, replay_from=3))
train = dict(epochs=3, batch_size=24, lr=0.05, schedule="cosine")
retrain = ["org", "ean"]
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The recipe's file."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> Callable[..., Job]:
    """`job("name", resume=True, **{"search.steps": 3})` starts the recipe in a directory of that name."""

    def start(name: str, *, resume: bool = False, **overrides: object) -> Job:
        recipe = Recipe.from_file(tiny, overrides)
        return Job.start(recipe, data_root=tmp_path, directory=tmp_path / name, resume=resume)

    return start


def start_tiny(directory: Path) -> Job:
    """The tiny recipe in a directory that tests share."""
    (directory / "tiny.py").write_text(TINY)
    return Job.start(Recipe.from_file(directory / "tiny.py"), data_root=directory, directory=directory / "run")


def ean_directory(directory: Path) -> Path:
    """Of the network of the scheme that was found."""
    (found,) = directory.glob("ean-*-seed0")
    return found
