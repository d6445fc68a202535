"""The field "format" of our own files, such as ean-record-1: a name, and a number that grows with its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ean_core.utils.errors import EANError


def later_version(path: str | Path, found: Any, expected: str) -> EANError | None:
    """The error for a file of the expected kind that a later version of the project wrote; None for any other file.

    Args:
        path: of the file.
        found: its format.
        expected: the format that this version reads.
    """
    if not is_later(found, expected):
        return None
    return EANError(
        f"{path} has the format {found!r}, and this version of the project reads {expected!r}: a later version wrote "
        "it, so update the project, or write the file again with this one"
    )


def is_later(found: Any, expected: str) -> bool:
    """Whether a format has the name of another one and a larger number."""
    name, number = expected.rsplit("-", 1)
    if not isinstance(found, str) or not found.startswith(f"{name}-"):
        return False
    suffix = found.removeprefix(f"{name}-")
    return suffix.isascii() and suffix.isdigit() and int(suffix[:9]) > int(number)
