"""Which files of a folder are taken for images, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ean_core.data.find_images import find_images
from ean_core.inference.shipped_models import split_sources
from ean_core.utils.errors import EANError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root: Path, **how: bool) -> list[str]:
    return [str(file.relative_to(root)) for file in find_images([root], **how).files]


def test_hidden_files_and_folders_are_left_out_and_endings_may_be_large(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a.png", ".ipynb_checkpoints/a-checkpoint.png", ".c.png", "d/.trash/e.png", "d/f.TIFF")
    assert names(tmp_path) == ["a.png", "b.JPG", "d/f.TIFF"]
    assert find_images([tmp_path]).describe() == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_skipped_files_are_counted_by_reason(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.heic", "c.HEIC", "d", "in/e.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    os.mkfifo(tmp_path / "fifo.png")
    images = find_images([tmp_path], below=False)
    assert [file.name for file in images.files] == ["a.png"]
    assert images.describe() == (
        "skipped 7 files: 2 .heic (not a supported image format), 2 broken links, 1 without an extension (not a "
        "supported image format), 1 FIFO, device or the like, 1 subfolder"
    )
    (tmp_path / "other").mkdir()
    touch(tmp_path / "other", "x.gif")
    with pytest.raises(EANError, match=r"no images in the folder .*other \(skipped 1 file: 1 .gif"):
        find_images([tmp_path / "other"])


def test_links_are_followed_and_no_folder_is_visited_twice(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    touch(outside, "far.png", "deep/deeper.png")
    touch(root, "a.png", "sub/b.png")
    (root / "linked").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "sub" / "up").symlink_to(root)
    (root / "z.png").symlink_to(outside / "far.png")
    assert names(root) == ["a.png", "linked/deep/deeper.png", "linked/far.png", "sub/b.png", "z.png"]
    assert "2 links to folders already visited" in find_images([root]).describe()
    assert len(find_images([root, root / "sub", outside]).files) == 5, "a folder that was given twice"


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    touch(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EANError, match="empty name"):
        find_images([name])
    for checkpoint, sources in (("net.pth", [name]), (name, ["a.png"])):
        with pytest.raises(EANError, match="an argument is empty"):
            split_sources(checkpoint, sources, task="classifier")
