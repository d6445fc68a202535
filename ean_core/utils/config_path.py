"""Check the path of a configuration file given to a command."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from ean_core.utils.errors import EANError


def check_config_file(path: str | Path, *, folders: Sequence[str]) -> None:
    """Make sure that a configuration file exists, and suggest a similarly named one otherwise.

    Args:
        path: of the configuration.
        folders: folders of the project's own configurations of that kind.

    Raises:
        EANError: if the path is a folder, or does not exist.
    """
    path, examples = Path(path), ", ".join(f"{folder}/" for folder in folders)
    if path.is_dir():
        raise EANError(f"configuration {path} is a folder: give a file, such as those in {examples}")
    if not path.is_file():
        files = {file.name: file for folder in (*folders, path.parent) for file in Path(folder).glob("*.py")}
        near = get_close_matches(path.name, files, n=1)
        hint = f"; did you mean {files[near[0]]}?" if near else ""
        raise EANError(f"configuration {path} does not exist: see {examples}{hint}")
