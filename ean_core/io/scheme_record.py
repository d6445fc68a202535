"""The record in a scheme.json, checked for its form; what its bits mean is said by `ean_core.scheme`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ean_core.io.file_format import later_version
from ean_core.io.json_file import read_json
from ean_core.utils.checked_dataclasses import Range, check_arguments, checked
from ean_core.utils.errors import EANError
from ean_core.utils.shipped_files import shipped_scheme

FORMAT = "ean-scheme-1"


@dataclass(frozen=True)
class SchemeRecord:
    """What a scheme.json says, as far as later steps depend on it."""

    blocks: Annotated[tuple[Annotated[int, Range(1, 10_000)], ...], Range(1)]
    stages: tuple[str, ...]
    connections: int | None = None
    arch: str | None = None
    attention: str | None = None
    attention_options: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    method: str | None = None
    recipe: str | None = None
    supernet_sha256: str | None = None


def read_scheme_file(path: str | Path) -> dict[str, Any]:
    """The whole record of a scheme.json, checked for its form.

    Raises:
        EANError: if the file is missing, truncated, or no scheme.
    """
    check_arguments("Scheme.load", path=(path, str | Path))
    if not Path(path).exists():
        path = shipped_scheme(str(path)) or path
    missing = not Path(path).exists()
    advice = "run tools/search.py first, or give the bits" if missing else "write it again with the search"
    if missing and shipped_scheme(Path(path).stem):
        advice = f"the scheme of this name comes with the project: give {Path(path).stem!r}"
    record = read_json(path, what="scheme file", advice=advice)
    if isinstance(record, dict) and (error := later_version(path, record.get("format"), FORMAT)):
        raise error
    form = f'{path} is not a scheme file: expected "blocks" (numbers) and "stages" (strings of 0 and 1)'
    if not isinstance(record, dict) or not {"blocks", "stages"} <= set(record):
        raise EANError(form)
    file = checked(SchemeRecord, record, where=f"scheme file {path}", advice=advice)
    if [len(stage) for stage in file.stages] != list(file.blocks) or set("".join(file.stages)) - {"0", "1"}:
        raise EANError(form)
    if file.connections not in (None, connected := "".join(file.stages).count("1")):
        raise EANError(
            f"scheme file {path} contradicts itself: its stages have {connected} connections, but it says "
            f"{file.connections}; correct it, or write it again with the search"
        )
    return record
