"""Records in a used directory: more seeds extend them, other settings are refused, and none is replaced by less."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ean_core import EANError, Scheme
from ean_core.io.records import read_record
from ean_core.pipeline.comparison.compare import Comparison
from ean_core.pipeline.correlation.coverage import with_earlier_seeds
from ean_core.pipeline.correlation.selection import choose_schemes
from ean_core.pipeline.correlation.study import Study, prepare
from ean_core.pipeline.correlation.summary import report_study
from ean_core.pipeline.correlation.training import train_remaining
from ean_core.pipeline.job import Job
from ean_core.pipeline.pipeline import retrain_and_summarize, run_comparison
from ean_core.pipeline.retrain import make_targets
from ean_core.search.comparison import Budget
from ean_core.search.method_choice import parse_methods
from ean_core.training.settings import TrainSettings
from tests.helpers.quick_runs import quick_runs  # noqa: F401
from tests.pipeline.test_any_task import MadeUpCounting, make_job


def train(
    directory: Path, *networks: str, seeds: Sequence[int] = (0,), file: str = "train.json", **changes: Any
) -> Path:
    """Train and summarize in the directory; the record."""
    job = change(make_job(directory), seeds=tuple(seeds), **changes)
    retrain_and_summarize(job, make_targets(job, networks), path := directory / file)
    return path


def change(job: Job, *, attention: str = "se", lr: float = 0.1, **changes: Any) -> Job:
    model = dataclasses.replace(job.recipe.model, attention=attention)
    return job.replace_recipe(model=model, train=TrainSettings(epochs=1, batch_size=1, lr=lr), **changes)


def values(path: Path) -> dict[str, list[float]]:
    """Network -> its results, one per seed of the record."""
    record = read_record(path)
    assert [row["mae"]["n"] for row in record["metrics"]] == [len(record["settings"]["recipe"]["seeds"])] * len(
        record["metrics"]
    )
    return {row["network"]: row["mae"]["values"] for row in record["metrics"]}


def test_further_seeds_extend_a_record(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path, "org", "share-full", seeds=[1])
    assert "seed 1 too" not in capsys.readouterr().out
    assert values(train(tmp_path, "org", "share-full", seeds=[0])) == {"Org": [90, 91], "Share-full": [115, 116]}
    assert "train.json covers seed 1 too, which was trained before" in capsys.readouterr().out
    with pytest.raises(EANError, match="covers seed 0, 1, and .* lacks some of its trainings: give the seeds 0, 1, 3 "):
        train(tmp_path, "org", "share-full", "001000010", seeds=[3])
    assert values(train(tmp_path, "org", "share-full", "001000010", seeds=[0, 1]))["EAN 001000010"] == [80, 81]
    with pytest.raises(EANError, match="covers Share-full, EAN 001000010 too, and this run only Org: give all"):
        train(tmp_path, "org", seeds=[0, 1, 3])


def test_a_record_is_not_replaced_by_one_of_fewer_seeds_or_other_schemes(tmp_path: Path) -> None:
    before = train(tmp_path, "org", seeds=[0, 1]).read_bytes()
    shutil.rmtree(tmp_path / "org-seed1")
    with pytest.raises(EANError, match="covers seed 1, and .* lacks some of its trainings: give the seeds 0, 1 "):
        train(tmp_path, "org", seeds=[0])
    assert (tmp_path / "train.json").read_bytes() == before
    for name, bits in (("a", "001000010"), ("b", "111000010")):
        Scheme.parse(bits, blocks=(3, 3, 3)).save(tmp_path / name / "scheme.json", attention="se")
    train(tmp_path / "w", str(tmp_path / "a/scheme.json"))
    with pytest.raises(EANError, match="covers EAN scheme with scheme 001 .*, and this run has 111"):
        train(tmp_path / "w", str(tmp_path / "b/scheme.json"))
    both = [str(tmp_path / name / "scheme.json") for name in ("a", "b")]
    found = values(train(tmp_path / "v", *both))  # two files of one name are two networks
    assert sorted(found.values()) == [[80], [90]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lr": 0.2}, r"train\.lr = 0\.1, and this run has 0\.2"),
        ({"attention": "dia"}, "model.attention = 'se', and this run has 'dia'"),
        ({"data": {"split_seed": 0, "more": 1}}, None),
    ],
)
def test_other_settings_are_refused_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], sentence: str | None
) -> None:
    before = train(tmp_path, "org").read_bytes()
    if sentence is None:  # no difference that trainings depend on
        train(tmp_path, "org", seeds=[1], **changes)
        return
    for network in ("org", "share-full"):
        with pytest.raises(EANError, match=sentence):
            train(tmp_path, network, seeds=[1], file=f"{network}.json", **changes)
    assert (tmp_path / "train.json").read_bytes() == before
    assert not list(tmp_path.glob("*-seed1/best.pth"))


def test_a_damaged_record_is_written_again(tmp_path: Path) -> None:
    path = train(tmp_path, "org", seeds=[0, 1])
    path.write_text("{")
    assert values(train(tmp_path, "org", seeds=[0])) == {"Org": [90, 91]}


@pytest.mark.parametrize("timing_batch", [50, 1])
def test_time_increments_are_not_measured_again(
    timing_batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a task's images are timed in batches as large as others' or, since they are large, in smaller ones."""
    crowds = dataclasses.replace(make_job(tmp_path).task.dataset(), timing_batch=timing_batch)
    monkeypatch.setattr(MadeUpCounting, "dataset", lambda _: crowds)
    monkeypatch.setattr("ean_core.pipeline.summary.TIMING", {"batch_size": 2, "rounds": 2, "setting": "eager float32"})
    first = read_record(train(tmp_path, "org", "share-full"))
    assert first["settings"]["timing"]["batch_size"] == min(2, timing_batch)
    again = read_record(train(tmp_path, "org", "share-full"))
    assert [row["time_increment"] for row in again["metrics"]] == [row["time_increment"] for row in first["metrics"]]


def compare(directory: Path, methods: str, seeds: int, evaluations: int = 6, **options: Any) -> Path:
    what = Comparison(parse_methods([methods]), seeds, Budget(evaluations=evaluations, proposals=9), **options)
    return run_comparison(make_job(directory, resume=True, retrain=()), what)


def test_a_comparison_is_extended_and_not_replaced_by_less(tmp_path: Path) -> None:
    before = compare(tmp_path, "random", 1).read_bytes()
    with pytest.raises(EANError, match="compares random with 1 seed each: to add to it, give --methods random hsp"):
        compare(tmp_path, "hsp", 1)
    with pytest.raises(EANError, match="with 6 evaluations, and this run has 4"):
        compare(tmp_path, "random", 1, evaluations=4)
    with pytest.raises(EANError, match="holds the scores of all schemes: give --exhaustive"):
        compare(tmp_path, "random", 1, exhaustive=False)
    assert (tmp_path / "comparison/comparison.json").read_bytes() == before
    record = read_record(compare(tmp_path, "random,hsp", 2))
    assert len(record["metrics"]["runs"]) == 4
    with pytest.raises(EANError, match="with 2 seeds each: .*--methods random hsp --seeds 2"):
        compare(tmp_path, "random,hsp", 1)


def test_a_study_is_extended_and_not_replaced_by_less(tmp_path: Path) -> None:
    def study(schemes: int, seed: int) -> Path:
        job = make_job(tmp_path, resume=True).replace_recipe(seeds=(seed,))
        one = Study(job, choose_schemes((3, 3, 3), random=schemes), images=1)
        with_earlier_seeds(one)
        scores = prepare(one)
        list(train_remaining(one))
        return report_study(one, scores, last=False)[0]

    study(5, 0)
    with pytest.raises(EANError, match="this study lacks 1 of the 5 schemes in .*, such as"):
        study(4, 0)
    record = read_record(study(6, 1))
    assert record["settings"]["seeds"] == [0, 1]
    assert [row["mae"]["n"] for row in record["metrics"]["schemes"]] == [2] * 5 + [1]
