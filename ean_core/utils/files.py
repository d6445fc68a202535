"""Atomic file writes: a file is either the old or the new one, never partial."""

from __future__ import annotations

import errno
import glob
import hashlib
import itertools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\..+\.tmp(\.\w+)?")
"""Temporary files of `atomic_path`, such as .summary.json.k3x9_a.tmp.json, and of a saved state, .last.pth.tmp."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an exception.

    A process killed at any moment leaves the old file (or none), since `os.replace` is atomic; so does a power cut,
    since the content is synced before the rename. A leftover temporary file is hidden, and `sweep` removes it.
    """
    path = Path(path)
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path), suffix=f".tmp{path.suffix}")
        os.close(handle)
    temporary = Path(name)
    try:
        with named(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp creates 0600; shared directories need the usual mode
            put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` (which must not exist) if the block ends without an exception.

    Leftovers of killed processes are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f"{glob.escape(_prefix(path))}*.tmp"):
        shutil.rmtree(leftover)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=_prefix(path), suffix=".tmp"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prefix(path: Path) -> str:
    """The start of a temporary file's name; file systems allow 255 bytes, which the whole name may have already."""
    return f".{path.name[:50]}."


def put_in_place(temporary: Path, path: Path) -> None:
    """Move a finished file to its final name, syncing the file and its folder."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """fsync a file or a folder."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):  # a file system without fsync
            raise
    finally:
        os.close(handle)


def is_hidden(path: Path, below: Path) -> bool:
    """Whether a file, or one of its folders below `below`, is hidden; readers of results skip those."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files that killed processes left in a folder and its subfolders; returns them.

    Only safe while no other process writes there.
    """
    leftovers = [path for path in folder.rglob(".*") if _TEMPORARY.fullmatch(path.name) and path.is_file()]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Make an `OSError` in the block name `path`: a full disk gives no name, other errors the temporary file's."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(str(error.filename)).name.startswith(_prefix(path)):
            error.filename = str(path)
        raise


def writable(folder: str | Path) -> Path:
    """Create a folder if needed and check that files can be written there, before hours are spent on their content.

    Raises:
        OSError: with the folder's name, if not.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        error.filename = str(folder)
        raise
    return folder


def free_path(path: str | Path) -> Path:
    """`path`, or with a number after its stem if the file exists, so that measurements are not overwritten."""
    path = Path(path)
    more = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([path], more) if not candidate.exists())


def written_or_replaced(path: str | Path) -> str:
    """The word for a file that is about to be written where the user said: "replaced" if there is one."""
    return "replaced" if Path(path).exists() else "written"


def write_atomic(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file name may not be UTF-8


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
