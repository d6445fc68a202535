"""The page on more GPUs holds what its command reckons."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run

sys.path.insert(0, str(ROOT / "benchmarks"))


def test_the_page_has_the_counts_of_the_command(run: Run) -> None:
    page = (ROOT / "docs/scaling.md").read_text()
    lines = run("benchmarks/scaling.py").stdout.splitlines()
    assert len(lines) == 11
    assert [line for line in lines[3:-1] if line not in page] == []
    assert lines[-1].removeprefix("c: ") in page
    for number in ("47,246,680", "184,520", "153,740,040", "600,480", "90,000,000"):
        assert number in "".join(lines[:3])
        assert number in page


def test_the_recipe_is_the_one_that_is_reckoned_with() -> None:
    import scaling

    from classification.recipe import Recipe

    recipe = Recipe.from_file(str(ROOT / "classification/configs/ean_se_r50_imagenet.py"))
    assert (recipe.supernet.epochs, recipe.train.epochs) == (scaling.SUPERNET_EPOCHS, scaling.RETRAIN_EPOCHS)
    assert recipe.supernet.batch_size == recipe.train.batch_size == scaling.BATCH
    assert recipe.data.val_per_class * 1000 == scaling.VALIDATION


def test_hours_follow_from_what_was_measured(tmp_path: Path) -> None:
    import scaling

    from ean_core import EANError

    def record(batch: int, **settings: object) -> Path:
        path = tmp_path / f"{batch}.json"
        content = {
            "format": "ean-record-1",
            "kind": "speed",
            "settings": {"arch": "resnet50", "image_size": 224, "batch_size": batch, **settings},
            "metrics": {"plain": {"images_per_second": 1.0}, "fast": {"images_per_second": 1000.0}},
        }
        path.write_text(json.dumps(content))
        return path

    measured = scaling.measured([record(256), record(32)])
    assert measured == {256: 1000.0, 32: 1000.0}
    todo = scaling.work(25_000_000)
    one, eight = scaling.hours(todo, training=measured, scoring=5000.0, bandwidth=175e6 / 0.032)
    # One GPU: 184,520 steps of 0.256 s. Eight: 0.032 s of compute and as much for 175 MB of gradients.
    assert one == "  1 GPUs: supernet 13.1 h, search at most 5.0 h, a retrained network 42.7 h"
    assert eight == "  8 GPUs: supernet 3.3 h, search at most 0.6 h, a retrained network 10.7 h"
    with pytest.raises(EANError, match="no record of benchmarks/training.py"):
        scaling.measured([record(4, image_size=32)])


@pytest.mark.parametrize("option", ["--scoring", "--bandwidth"])
def test_a_part_of_what_hours_are_made_of_is_refused(run: Run, option: str) -> None:
    assert "give all three, or none" in run("benchmarks/scaling.py", option, "100", code=2).stderr
