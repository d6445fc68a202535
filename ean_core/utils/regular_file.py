"""Refuse to read what is not a regular file: reading a FIFO would never end."""

from __future__ import annotations

from pathlib import Path

from ean_core.utils.errors import EANError


def check_regular(path: Path, *, what: str = "", advice: str) -> None:
    """Make sure that a path leads to a regular file.

    Args:
        path: of the file.
        what: the kind of file in the error message, such as "record".
        advice: what to do, at the end of the error message.

    Raises:
        EANError: if it is missing, a folder, a FIFO or a device.
    """
    if not path.is_file():
        problem = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
        raise EANError(f"{f'{what} {path}'.lstrip()} {problem}: {advice}")
