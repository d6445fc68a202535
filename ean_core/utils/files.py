"""Files that are either the old one or the new one, never half of one."""

from __future__ import annotations

import errno
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
"""Names of `atomic_path`, as .summary.json.k3x9_a.tmp.json, and of a state that is being saved, .last.pth.tmp."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces it when the block ends without an exception.

    A kill at any moment leaves the old file (or none), since `os.replace` is atomic on one file system; so does a power
    cut, since the content is on the disk before the name is. The temporary file that a kill leaves is hidden, and
    removed by `sweep`.
    """
    path = Path(path)
    with named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=f".tmp{path.suffix}")
        os.close(handle)
    temporary = Path(name)
    try:
        with named(path):
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp gives 0600; a shared work directory wants the usual mode
            put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path`, which is not there yet, when the block ends without an exception.

    What killed processes left of earlier tries is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a finished file its name, with both on the disk."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):  # a file system that knows no fsync
            raise
    finally:
        os.close(handle)


def is_hidden(path: Path, below: Path) -> bool:
    """Whether a file, or one of its folders below `below`, is hidden: no reader of results takes it."""
    return any(part.startswith(".") for part in path.relative_to(below).parts)


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files that killed processes left in a folder and below it; returns them.

    For the owner of the folder alone: another process may be writing one.
    """
    left = [path for path in folder.rglob(".*") if _TEMPORARY.fullmatch(path.name) and path.is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    return left


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an error name the file that was to be written: a full disk names none, others the temporary one.

    Its name begins with that of `path` between two dots.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(str(error.filename)).name.startswith(f".{path.name}."):
            error.filename = str(path)
        raise


def writable(folder: str | Path) -> Path:
    """A folder, made if it is not there, into which a file can be put: found out before hours are spent on the file.

    Raises:
        OSError: if not, naming the folder.
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
    """`path`, or with a number behind its stem where there is such a file: what took long to measure is not replaced
    unless the user names its file."""
    path = Path(path)
    more = (path.with_stem(f"{path.stem}_{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], more) if not one.exists())


def write_atomic(path: str | Path, text: str) -> None:
    """Write text so that a reader sees the old content or all of the new."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name can be no UTF-8


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
