"""Images shared by training and held-out splits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ean_core.data.duplicates import check_duplicates
from ean_core.utils.errors import EANError


def files(root: Path, *names: str) -> list[Path]:
    """Files whose content is the first part of their name."""
    for name in names:
        (root / name).write_text(name.split("-")[0])
    return [root / name for name in names]


def numbered(root: Path, count: int) -> list[Path]:
    return files(root, *(f"n{number}" for number in range(count)))


def test_few_copies_are_warned_of_and_many_are_refused(tmp_path: Path) -> None:
    train, others = files(tmp_path, "a-1", "b-1"), numbered(tmp_path, 18)
    parts = {"train": train, "val": files(tmp_path, "c-1"), "test": [*others, *files(tmp_path, "a-2", "c-2")]}
    (warningings,) = check_duplicates(parts, tmp_path)
    assert warningings.startswith("warning: 2 of the 20 test images are copies of training images (the first: a-2 is")
    with pytest.raises(EANError, match=r"2 of the 19 test images are copies .*: remove the copies"):
        check_duplicates({**parts, "test": parts["test"][1:]}, tmp_path)
    with pytest.raises(EANError, match=r"1 of the 2 validation images are copies .*\(the first: a-2 is a-1\)"):
        check_duplicates({"train": train, "val": files(tmp_path, "a-2", "x")}, tmp_path)
    assert not check_duplicates({"train": train, "val": files(tmp_path, "c-1"), "test": others}, tmp_path)
    warningings = check_duplicates({**parts, "test": parts["test"][1:]}, tmp_path, refuse=False)
    assert warningings[0].startswith("warning: 2 of the 19 test images")
    (tmp_path / "longer").write_text("aa")
    assert not check_duplicates({"train": train, "test": [tmp_path / "longer"]}, tmp_path)


@pytest.mark.parametrize("how", ["path", "symbolic link", "hard link"])
def test_the_same_file_is_refused_even_once(tmp_path: Path, how: str) -> None:
    train, others = files(tmp_path, "a"), numbered(tmp_path, 99)
    same = {"path": tmp_path / "a", "symbolic link": tmp_path / "soft", "hard link": tmp_path / "hard"}[how]
    if how == "symbolic link":
        same.symlink_to(train[0])
    elif how == "hard link":
        os.link(train[0], same)
    for part, images in (("test", "test images"), ("val", "validation images")):
        with pytest.raises(EANError, match=f"1 of the 100 {images} are also training images .*remove them"):
            check_duplicates({"train": train, part: [*others, same]}, tmp_path)
        warnings = check_duplicates({"train": train, part: [*others, same]}, tmp_path, refuse=False)
        assert warnings[0].startswith(f"warning: 1 of the 100 {images} are also")


def test_a_file_elsewhere_is_named_in_full(tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).write_text("same")
    with pytest.raises(EANError) as caught:
        check_duplicates({"train": [tmp_path / "x"], "test": [str(tmp_path / "y")]}, tmp_path / "root")
    assert f"{tmp_path / 'y'} is {tmp_path / 'x'}" in str(caught.value)
