"""One way to walk a folder of images, for training and for all commands, and what it passed over.

Files are taken by how their names end, whatever the case, and sorted. Hidden files and folders, such as notebooks and
file managers leave behind, are left out without a word. Links are followed, and each folder is looked into once, so
that a link to a folder above does not go round for ever.
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
NAMED = 6  # kinds of passed-over files that a line names
BROKEN, SPECIAL = "broken link", "FIFO, device or the like"
INSIDE, UNREADABLE, AGAIN = "folder inside", "unreadable folder", "link to a folder already looked into"
PLURALS = {
    BROKEN: "broken links",
    SPECIAL: "FIFOs, devices or the like",
    INSIDE: "folders inside",
    UNREADABLE: "unreadable folders",
    AGAIN: "links to folders already looked into",
}


@dataclass
class FoundImages:
    """What a walk found.

    Attributes:
        files: the images, sorted.
        skipped: reason -> how many entries were not taken for it, as ".heic (not an image format read here)".
    """

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, other: FoundImages) -> None:
        """Take over what another walk found."""
        self.files += other.files
        self.skipped += other.skipped

    def describe(self) -> str:
        """`passed over 3 files: 2 .heic (not an image format read here), 1 broken link`; "" if nothing was."""
        return describe_skipped(self.skipped)


def describe_skipped(skipped: Counter[str]) -> str:
    """See `FoundImages.describe`."""
    if not skipped:
        return ""
    reasons = [
        f"{count} {reason if count == 1 else PLURALS.get(reason, reason)}"
        for reason, count in skipped.most_common(NAMED)
    ]
    more = skipped.total() - sum(count for _, count in skipped.most_common(NAMED))
    return f"passed over {how_many(skipped.total(), 'file')}: {', '.join(reasons + [f'{more} more'] * (more > 0))}"


def is_image(name: str) -> bool:
    """Whether a file found in a folder is taken for an image: by how its name ends, and hidden ones are not."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is hidden."""
    return name.startswith(".")


def class_folders(folder: Path) -> list[str]:
    """Sorted names of the folders inside that are not hidden, links to folders among them."""
    return sorted(entry.name for entry in os.scandir(folder) if not is_hidden(entry.name) and leads_to_folder(entry))


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def images_in(folder: str | Path, *, below: bool, seen: set[tuple[int, int]] | None = None) -> FoundImages:
    """The images of a folder.

    Args:
        folder: where to look.
        below: look into the folders inside too.
        seen: (device, inode) of folders that were looked into before, and are not again; added to.

    Raises:
        OSError: if the folder itself cannot be read.
    """
    seen, found = set() if seen is None else seen, FoundImages()
    seen.add(identity(folder))
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if is_hidden(entry.name):
            continue
        if leads_to_folder(entry):
            if not below:
                found.skipped[INSIDE] += 1
            elif identity(entry.path) in seen:
                found.skipped[AGAIN] += 1
            else:
                try:
                    found.add(images_in(entry.path, below=True, seen=seen))
                except PermissionError:
                    found.skipped[UNREADABLE] += 1
        elif reason := reason_against(entry):
            found.skipped[reason] += 1
        else:
            found.files.append(Path(entry.path))
    return found


def reason_against(entry: os.DirEntry[str]) -> str:
    """Why what is no folder is no image to take; "" for one that is."""
    try:
        regular = entry.is_file()
    except OSError:  # a link to itself
        regular = False
    if regular:
        ending = legible(os.path.splitext(entry.name)[1].lower()) or "without an ending"
        return "" if is_image(entry.name) else f"{ending} (not an image format read here)"
    return BROKEN if entry.is_symlink() else SPECIAL


def identity(folder: str | Path) -> tuple[int, int]:
    """What is the same for a folder and all links to it."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def find_images(sources: Sequence[str | Path], *, below: bool = True) -> FoundImages:
    """The image files among `sources`, and all in the folders among them, each file once.

    Args:
        sources: files, which are taken whatever they end in, and folders.
        below: look into the folders of folders too; not for a command whose own pictures may be put there.

    Raises:
        EANError: if a source does not exist, or a folder has no image files.
    """
    found = FoundImages()
    seen: set[tuple[int, int]] = set()
    for source in map(Path, sources):
        if source.is_dir():
            if identity(source) in seen:
                continue
            inside = images_in(source, below=below, seen=seen)
            if not inside.files:
                but = f" ({said})" if (said := inside.describe()) else ""
                raise EANError(
                    f"no images in the folder {legible(str(source))}{but}: expected files ending in "
                    f"{', '.join(SUFFIXES)}"
                )
            found.add(inside)
        elif source.exists():
            found.files.append(source)
        else:
            what = "is a broken link" if source.is_symlink() else "does not exist"
            raise EANError(f"{legible(str(source))} {what}: give image files, or folders of them")
    found.files = list(dict.fromkeys(found.files))
    return found
