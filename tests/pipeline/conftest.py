"""The pipeline over its only small task: classification of digits, with a recipe that runs in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from classification.job import start_job
from classification.recipe import Recipe
from ean_core.pipeline.job import Job
from tests.helpers.quick_runs import drawn, quick_runs
from tests.helpers.tiny_recipe import TINY

__all__ = ["MakeJob", "drawn", "job", "quick_runs", "tiny"]

MakeJob = Callable[..., Job]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The file of the tiny recipe."""
    path = tmp_path / "tiny.py"
    path.write_text(TINY)
    return path


@pytest.fixture
def job(tiny: Path, tmp_path: Path) -> MakeJob:
    """`job("name", resume=True, **{"search.steps": 3})` starts the recipe in a directory of that name."""

    def start(name: str, *, resume: bool = False, **overrides: object) -> Job:
        recipe = Recipe.from_file(tiny, overrides)
        return start_job(recipe, data_root=tmp_path, directory=tmp_path / name, resume=resume)

    return start
