"""The page on more GPUs holds what its command reckons."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run


def test_the_page_has_the_counts_of_the_command(run_here: Run) -> None:
    page = (ROOT / "docs/scaling.md").read_text()
    lines = run_here("benchmarks/scaling.py").stdout.splitlines()
    assert len(lines) == 11
    assert [line for line in lines[3:-1] if line not in page] == []
    assert lines[-1].removeprefix("c: ") in page
    for number in ("47,246,680", "184,560", "153,740,040", "600,600", "90,000,000"):
        assert number in "".join(lines[:3])
        assert number in page


def test_the_page_has_the_hours_of_the_records(run_here: Run) -> None:
    page, results = (ROOT / "docs/scaling.md").read_text(), ROOT / "results"
    training = sorted(results.glob("speed_training_resnet50_b*_cpu.json"))
    others = ("--processes", results / "speed_processes_resnet50_cpu.json")
    decoding = ("--decoding", results / "speed_decoding_cpu.json")
    lines = run_here("benchmarks/scaling.py", "--training", *training, *others, *decoding).stdout.splitlines()
    assert [line[:5] for line in lines[-3:]] == ["| 1 |", "| 8 |", "| 64 "]
    assert "\n".join(lines[-5:]) in page


def test_the_recipe_is_the_one_that_is_reckoned_with() -> None:
    import scaling

    from classification.recipe import Recipe

    recipe = Recipe.from_file(str(ROOT / "classification/configs/ean_se_r50_imagenet.py"))
    assert (recipe.supernet.epochs, recipe.train.epochs) == (scaling.SUPERNET_EPOCHS, scaling.RETRAIN_EPOCHS)
    assert recipe.supernet.batch_size == recipe.train.batch_size == scaling.BATCH
    assert recipe.data.val_per_class * 1000 == scaling.VALIDATION


def speed(path: Path, metrics: dict[str, object], **settings: object) -> Path:
    """A record of ResNet-50 at 224 pixels."""
    of = {"arch": "resnet50", "image_size": 224, **settings}
    path.write_text(json.dumps({"format": "ean-record-1", "kind": "speed", "settings": of, "metrics": metrics}))
    return path


def test_hours_follow_from_what_was_measured(tmp_path: Path) -> None:
    import scaling

    speeds = {"plain": 2000.0, "fast-graph": 900.0, "fast": 1000.0}  # plain is not ours
    both = {side: {"images_per_second": one} for side, one in speeds.items()}
    training = [speed(tmp_path / f"{batch}.json", both, batch_size=batch) for batch in (128, 32)]
    parts = {"scoring": {"1": {"images_per_second": 5000.0}}, "all_reduce": {"2": {"bytes_per_second": 175e6 / 0.032}}}
    processes = speed(tmp_path / "processes.json", parts)
    decoding = speed(tmp_path / "decoding.json", {"evaluation": {}, "training": {"ours": {"images_per_second": 100.0}}})
    figures = scaling.read(training, processes, decoding)
    assert figures.training == {128: 1000.0, 32: 1000.0}
    # A batch of 256 goes in two halves; four images were measured by nobody.
    assert (figures.rate(256), figures.rate(32), figures.rate(4)) == ((128, 1000.0), (32, 1000.0), None)
    one, eight = scaling.hours(scaling.work(25_000_000), figures)
    # One device: 184,560 steps of 0.256 s. Eight: 0.032 s of compute and as much for 175 MB of gradients.
    assert one == "| 1 | 1e+03 (batch 128) | 0.256 s | 0.0 % | 13.1 | 5.0 | 42.7 | 10.00 |"
    assert eight == "| 8 | 1e+03 (batch 32) | 0.064 s | 50.0 % | 3.3 | 0.6 | 10.7 | 5.00 |"
    alone = scaling.read(training, speed(tmp_path / "alone.json", {**parts, "all_reduce": {}}), None)
    assert scaling.hours(scaling.work(25_000_000), alone) == [one.replace("10.00", "not measured")]


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    import scaling

    from ean_core import EANError

    small = speed(tmp_path / "4.json", {"fast": {"images_per_second": 1.0}}, image_size=32, batch_size=4)
    with pytest.raises(EANError, match=r"is not a record of benchmarks/training\.py --arch resnet50 --image-size 224"):
        scaling.read([small], small, None)
    right = speed(tmp_path / "5.json", {"fast": {"images_per_second": 1.0}}, batch_size=4)
    with pytest.raises(EANError, match=r"5\.json is not a record of benchmarks/processes\.py"):
        scaling.read([right], right, None)
    several = speed(tmp_path / "6.json", {"scoring": {"2": {"images_per_second": 1.0}}, "all_reduce": {}})
    with pytest.raises(EANError, match=r"6\.json has no scoring by one process"):
        scaling.read([right], several, None)


@pytest.mark.parametrize("option", ["--training", "--processes"])
def test_a_part_of_what_hours_are_made_of_is_refused(run_here: Run, option: str) -> None:
    assert "give both, or none" in run_here("benchmarks/scaling.py", option, "100.json", code=2).stderr
