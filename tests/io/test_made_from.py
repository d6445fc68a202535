"""Results in a folder are replaced by the same command only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ean_core.io.made_from import NOTE, check_outputs, claim_outputs, digest_of_files, free_folder
from ean_core.utils.errors import EANError

FIRST = {"test.json": {"checkpoint": "aa", "data": ("part_A", 3)}}


def test_a_repetition_may_replace_and_other_inputs_may_not(tmp_path: Path) -> None:
    claim_outputs(tmp_path, FIRST)
    (tmp_path / "test.json").write_text("1")
    claim_outputs(tmp_path, FIRST)
    for name, value in (("checkpoint", "bb"), ("data", ["part_B", 3])):
        other = {"test.json": {**FIRST["test.json"], name: value}}
        with pytest.raises(EANError, match=rf"test.json holds a result of {name} .*, and this command has .*--out-dir"):
            claim_outputs(tmp_path, other)
    claim_outputs(tmp_path, {"other.json": {"checkpoint": "bb"}})  # beside it
    check_outputs(tmp_path, FIRST)


def test_what_is_gone_may_be_made_of_anything(tmp_path: Path) -> None:
    claim_outputs(tmp_path, FIRST)
    claim_outputs(tmp_path, {"test.json": {"checkpoint": "bb"}})  # the first never wrote it


@pytest.mark.parametrize("note", [None, "", "[1]", '{"files": {"test.json": 3}}', "\xff"])
def test_a_file_of_unknown_origin_is_kept(tmp_path: Path, note: str | None) -> None:
    (tmp_path / "test.json").write_text("1")
    if note is not None:
        (tmp_path / NOTE).write_text(note, encoding="latin-1")
    with pytest.raises(EANError, match="it is not known what it was made from"):
        claim_outputs(tmp_path, FIRST)


def test_the_next_free_folder(tmp_path: Path) -> None:
    folder = tmp_path / "counts"
    assert free_folder(folder, FIRST) == folder
    claim_outputs(folder, FIRST)
    (folder / "test.json").write_text("1")
    assert free_folder(folder, FIRST) == folder
    assert free_folder(folder, {"test.json": {"checkpoint": "bb"}}) == tmp_path / "counts_2"


def test_digests_follow_content_and_order(tmp_path: Path) -> None:
    first, other = tmp_path / "a", tmp_path / "b"
    first.write_text("1")
    other.write_text("2")
    assert digest_of_files([first, other]) != digest_of_files([other, first])
    before = digest_of_files([first])
    first.write_text("3")
    assert digest_of_files([first]) != before


def test_what_cannot_be_read_twice_counts_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert digest_of_files([tmp_path / "pipe"]) != digest_of_files([tmp_path])
    with pytest.raises(EANError, match="gone does not exist"):
        digest_of_files([tmp_path / "gone"])
