"""A note in a folder of results of what each file was made from, so that no command replaces another one's results.

Repeating a command replaces its own results; other data, another checkpoint or other settings are refused before the
work begins.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from ean_core.io.json_file import read_json
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import sha256_of, write_atomic

NOTE = ".made_from.json"

Inputs = Mapping[str, Any]
"""What a result depends on: a name, such as "checkpoint", and a value that changes with it."""


@dataclass(frozen=True)
class Note:
    """Content of the note: the inputs of each file, by its name."""

    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def claim_outputs(folder: Path, outputs: Mapping[str, Inputs], *, option: str = "--out-dir") -> None:
    """Check and note what files are about to be made from, before the work; see `check_outputs`, `note_outputs`."""
    check_outputs(folder, outputs, option=option)
    note_outputs(folder, outputs)


def check_outputs(folder: Path, outputs: Mapping[str, Inputs], *, option: str = "--out-dir") -> None:
    """Refuse to replace files that were made from other inputs.

    Args:
        folder: where the files go.
        outputs: name of a file -> its inputs.
        option: with which the user gives another folder.

    Raises:
        EANError: if one of the files exists and was made from other inputs, or it is not known from which.
    """
    if conflict := _conflict(folder, _read(folder), outputs):
        raise EANError(f"{conflict}: give another {option}, or move that file away")


def note_outputs(folder: Path, outputs: Mapping[str, Inputs]) -> None:
    """Note what files are made from; arguments as for `check_outputs`. Call it before the files are in place."""
    kept = {name: inputs for name, inputs in _read(folder).items() if (folder / name).exists()}
    text = json.dumps({"files": {**kept, **_plain(outputs)}}, indent=1)
    write_atomic(folder / NOTE, text + "\n")


def free_folder(folder: Path, outputs: Mapping[str, Inputs]) -> Path:
    """`folder`, or with a number after its name if it holds such files that were made from other inputs."""
    more = (folder.with_name(f"{folder.name}_{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([folder], more) if not _conflict(path, _read(path), outputs))


def digest_of_files(files: Iterable[str | Path], *, digits: int = 12) -> str:
    """Hexadecimal digits that change with the content and the order of files: the first of a SHA-256.

    A path that is not a regular file (a pipe, say, which can be read once) counts by its name: whoever reads it says
    what is wrong with it.

    Raises:
        EANError: if one is missing.
    """
    files = [Path(file) for file in files]
    if missing := [file for file in files if not file.exists()]:
        raise EANError(f"{missing[0]} does not exist: give an existing file")
    contents = [sha256_of(file) if file.is_file() else str(file) for file in files]
    return sha256("".join(contents).encode()).hexdigest()[:digits]


def digest_of(value: Any) -> str:
    """12 hexadecimal digits that change with nested settings."""
    return sha256(json.dumps(value, default=repr, sort_keys=True).encode()).hexdigest()[:12]


def _conflict(folder: Path, files: Mapping[str, Inputs], outputs: Mapping[str, Inputs]) -> str:
    """The start of a sentence on the first file that would be replaced by one of other inputs; "" if there is none."""
    for name, now in _plain(outputs).items():
        if not (folder / name).exists():
            continue
        path, before = folder / name, files.get(name)
        if before is None:
            return f"{path} is there already, and it is not known what it was made from"
        for what in [*before, *now]:
            if before.get(what) != now.get(what):
                return f"{path} holds a result of {what} {before.get(what)}, and this command has {now.get(what)}"
    return ""


def _read(folder: Path) -> Mapping[str, Inputs]:
    """The note of a folder; empty if it is missing or damaged, so that nothing there is replaced."""
    try:
        content = read_json(folder / NOTE, what="note", advice="")
        return checked(Note, content, where=NOTE, advice="").files
    except EANError:
        return {}


def _plain(value: Any) -> Any:
    """Nested settings as they are read again: JSON has no tuples."""
    return json.loads(json.dumps(value, default=str))
