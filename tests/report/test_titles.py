"""Headings in words, of records whose settings say what they are of and of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ean_core.io.records import write_record
from ean_core.report.results import Record, Results, read_file
from ean_core.report.titles import arch_title, recipe_title, record_title, words_of
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("counting_part_A_r29_ean", "counting part A ResNet-29 EAN"),
        ("run.figure4", "run, Figure 4"),
        ("speed_resnet164_cpu", "speed ResNet-164 on a CPU"),
        ("my_photos_b2", "my photos b2"),
    ],
)
def test_names_of_files_become_words(name: str, words: str) -> None:
    assert words_of(name) == words


def test_architectures_are_named_as_in_papers() -> None:
    names = ("resnet164", "timm:tf_efficientnet_lite0", "timm:resnet50")
    assert [arch_title(name) for name in names] == ["ResNet-164", "EfficientNet-Lite0", "timm:resnet50"]


def test_no_heading_of_a_committed_record_is_a_files_name() -> None:
    titles = {record.name: record_title(record) for record in Results.read(ROOT / "results").records}
    assert titles["speed_training_resnet29_supernet_cpu.json"] == "Training steps, ResNet-29, supernet, batch 128"
    assert titles["search_landscapes_54_why.json"] == "54 blocks (an ablation)"
    assert titles["benchmark_counter_r29_cpu.json"] == "counters over ResNet-29, batch 1"
    assert not [title for title in titles.values() if "_" in title]


def test_settings_that_do_not_say_leave_the_words_of_the_name(tmp_path: Path) -> None:
    path = write_record(tmp_path / "my_run.json", kind="pipeline", settings={"recipe": 3}, metrics=[])
    record = read_file(path, "folder/my_run.json", ())
    assert isinstance(record, Record)
    assert record_title(record) == "my run"


@pytest.mark.parametrize(("epochs", "words"), [(1, "1 epoch"), (20, "20 epochs")])
def test_one_epoch_is_no_plural(tmp_path: Path, epochs: int, words: str) -> None:
    recipe = {"model": {"arch": "resnet20", "attention": "se"}, "train": {"epochs": epochs}}
    settings = {"recipe": recipe, "data": {"name": "digits"}}
    record = read_file(
        write_record(tmp_path / "run.json", kind="pipeline", settings=settings, metrics=[]), "run.json", ()
    )
    assert recipe_title(record).endswith(f"with SE, {words}")
