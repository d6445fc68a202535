"""How long a run will take, in words; and that a dry run writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from ean_core.pipeline.dry_run import dry_run, where_kept
from ean_core.pipeline.estimate import Part, describe_parts, schemes_scored
from ean_core.pipeline.retrain import make_target
from tests.pipeline.conftest import MakeJob


def test_the_estimate_names_parts_whole_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ean_core.pipeline.estimate.get_device", lambda: "cpu")
    day = 86400.0
    parts = [Part("supernet", 10 * day), Part("search", 3600.0), Part("3 networks", 12 * day)]
    assert describe_parts(parts, epochs=["supernet.epochs", "train.epochs"]) == (
        "estimate: supernet about 10 days, search about 60 minutes, 3 networks about 12 days; in all about 22 days "
        "on this CPU; try --cfg-options supernet.epochs=1 train.epochs=1 to try every part first, or a GPU"
    )
    assert describe_parts([Part("1 network", 90.0)]) == "estimate: 1 network about 2 minutes on this CPU"


def test_a_dry_run_times_every_part_and_writes_nothing(
    job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = sorted(tmp_path.rglob("*"))
    one = job("run", **{"supernet.val_interval": 0})
    dry_run(one, [(make_target(one, "org"), 3)], schemes=schemes_scored(one))
    printed = capsys.readouterr().out
    for words in (
        "supernet: 12 steps, ",
        "search: at most 16 schemes on 40 images",
        "Org (3 networks): 15 steps each, ",
    ):
        assert words in printed
    assert f"the results would be written to {tmp_path / 'run'}/, a new directory" in printed
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_says_what_would_become_of_the_directory(tmp_path: Path) -> None:
    assert where_kept(tmp_path / "run", resume=True).endswith("run/, a new directory")
    assert where_kept(tmp_path, resume=False).endswith("which exists already: give --resume, or another --work-dir")
    assert where_kept(tmp_path, resume=True).endswith("where finished parts would be reused")
