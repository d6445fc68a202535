"""Find the configuration file given to a command: the user's own, or one that comes with the project."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from ean_core.utils.errors import EANError, launched_as
from ean_core.utils.shipped_files import ROOT
from ean_core.utils.wrapping import print_wrapped


def find_config_file(path: str | Path, *, folders: Sequence[str]) -> Path:
    """The configuration file at a path.

    Where the working directory has none, a path such as classification/configs/quickstart_digits.py is that of the
    package, and a line says so.

    Args:
        path: of the configuration.
        folders: folders of the project's own configurations of that kind.

    Raises:
        EANError: if the path is a folder, or does not exist; it names a similar one.
    """
    path, examples = Path(path), ", ".join(f"{folder}/" for folder in folders)
    if path.is_file():
        return path
    if path.is_dir():
        raise EANError(f"configuration {path} is a folder: give a file, such as those in {examples}")
    shipped = ROOT / path
    if path.parent.as_posix() in folders and shipped.is_file():
        say_shipped(path)
        return shipped
    files = {file.name: f"{folder}/{file.name}" for folder in folders for file in (ROOT / folder).glob("*.py")}
    files |= {file.name: str(file) for folder in (*folders, path.parent) for file in Path(folder).glob("*.py")}
    near = get_close_matches(path.name, files, n=1)
    hint = f"; did you mean {files[near[0]]}?" if near else ""
    raise EANError(f"configuration {path} does not exist: see {examples}{hint}")


@cache
def say_shipped(path: Path) -> None:
    """Say once, in the first process, that the working directory has no such file and the project's own is taken."""
    if launched_as()[0] == 0:
        print_wrapped(f"recipe: {path} of the installed package, since there is none in this directory")
