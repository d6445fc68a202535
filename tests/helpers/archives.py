"""Unpacking the archives that tests carry or make."""

from __future__ import annotations

import tarfile
from pathlib import Path


def extract_all(archive: tarfile.TarFile, into: Path) -> None:
    """Extract an archive, with Python's filter where there is one: 3.10.12 and 3.11.4 brought it."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(into, filter="data")
    else:
        archive.extractall(into)
