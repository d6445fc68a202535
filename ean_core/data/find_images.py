"""Find image files in folders, for training and for all commands, and count the files that were skipped.

Files are selected by extension, ignoring case, and sorted. Hidden files and folders, such as those of notebooks and
file managers, are ignored silently. Links are followed, and each folder is visited once, so that a link to a parent
folder does not loop for ever.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ean_core.utils.errors import EANError, legible
from ean_core.utils.text import how_many

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
NAMED = 6  # reasons that a message lists
BROKEN, SPECIAL = "broken link", "FIFO, device or the like"
INSIDE, UNREADABLE, AGAIN = "subfolder", "unreadable folder", "link to a folder already visited"
PLURALS = {
    BROKEN: "broken links",
    SPECIAL: "FIFOs, devices or the like",
    INSIDE: "subfolders",
    UNREADABLE: "unreadable folders",
    AGAIN: "links to folders already visited",
}


@dataclass
class FoundImages:
    """Result of a search for images.

    Attributes:
        files: the images, sorted.
        skipped: reason -> number of entries skipped for it, such as ".heic (not a supported image format)".
    """

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, other: FoundImages) -> None:
        """Add the images and counts of another search."""
        self.files += other.files
        self.skipped += other.skipped

    def describe(self) -> str:
        """`skipped 3 files: 2 .heic (not a supported image format), 1 broken link`; "" if none were."""
        return describe_skipped(self.skipped)


def describe_skipped(skipped: Counter[str]) -> str:
    """A sentence on skipped files, such as `skipped 3 files: 2 .heic (not a supported image format), 1 broken link`."""
    if not skipped:
        return ""
    reasons = [
        f"{count} {reason if count == 1 else PLURALS.get(reason, reason)}"
        for reason, count in skipped.most_common(NAMED)
    ]
    more = skipped.total() - sum(count for _, count in skipped.most_common(NAMED))
    return f"skipped {how_many(skipped.total(), 'file')}: {', '.join(reasons + [f'{more} more'] * (more > 0))}"


def is_image(name: str) -> bool:
    """Whether a file name has an image extension and is not hidden."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a name marks a hidden file or folder (a leading dot)."""
    return name.startswith(".")


def class_folders(folder: Path) -> list[str]:
    """Sorted names of the subfolders that are not hidden, including links to folders."""
    return sorted(entry.name for entry in os.scandir(folder) if not is_hidden(entry.name) and leads_to_folder(entry))


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def images_in(folder: str | Path, *, below: bool, visited: set[tuple[int, int]] | None = None) -> FoundImages:
    """Find the images of a folder.

    Args:
        folder: where to look.
        below: search subfolders too.
        visited: (device, inode) of folders to skip; the folders searched are added to it.

    Raises:
        OSError: if the folder itself cannot be read.
    """
    visited, images = set() if visited is None else visited, FoundImages()
    visited.add(identity(folder))
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if is_hidden(entry.name):
            continue
        if leads_to_folder(entry):
            if not below:
                images.skipped[INSIDE] += 1
            elif identity(entry.path) in visited:
                images.skipped[AGAIN] += 1
            else:
                try:
                    images.add(images_in(entry.path, below=True, visited=visited))
                except PermissionError:
                    images.skipped[UNREADABLE] += 1
        elif reason := reason_against(entry):
            images.skipped[reason] += 1
        else:
            images.files.append(Path(entry.path))
    return images


def reason_against(entry: os.DirEntry[str]) -> str:
    """Why a non-folder entry is skipped; "" if it is an image."""
    try:
        regular = entry.is_file()
    except OSError:  # a link to itself
        regular = False
    if regular:
        ending = legible(os.path.splitext(entry.name)[1].lower()) or "without an extension"
        return "" if is_image(entry.name) else f"{ending} (not a supported image format)"
    return BROKEN if entry.is_symlink() else SPECIAL


def identity(folder: str | Path) -> tuple[int, int]:
    """(device, inode), the same for a folder and all links to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def find_images(sources: Sequence[str | Path], *, below: bool = True) -> FoundImages:
    """Collect image files from files and folders, each once.

    Args:
        sources: files, taken whatever their extension, and folders.
        below: search subfolders too; False for a command that may write its own pictures there.

    Raises:
        EANError: if a source has an empty name or does not exist, or a folder has no image files.
    """
    images = FoundImages()
    visited: set[tuple[int, int]] = set()
    if any(isinstance(source, str) and not source.strip() for source in sources):
        raise EANError("an image or folder has an empty name, as from an unset variable: give its path")
    for source in map(Path, sources):
        if source.is_dir():
            if identity(source) in visited:
                continue
            folder_images = images_in(source, below=below, visited=visited)
            if not folder_images.files:
                but = f" ({skipped_text})" if (skipped_text := folder_images.describe()) else ""
                raise EANError(f"no images in the folder {source}{but}: expected files ending in {', '.join(SUFFIXES)}")
            images.add(folder_images)
        elif source.exists():
            images.files.append(source)
        else:
            problem = "is a broken link" if source.is_symlink() else "does not exist"
            raise EANError(f"{source} {problem}: give image files, or folders of them")
    images.files = list(dict.fromkeys(images.files))
    return images
