"""Read text and JSON files, with a clear error if they are missing or damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ean_core.utils.errors import EANError, first_line
from ean_core.utils.regular_file import check_regular

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str | Path, *, what: str = "file", advice: str) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Args:
        path: of the file.
        what: the kind of file in the error message, such as "record".
        advice: what to do, at the end of the error message.

    Raises:
        EANError: if it is missing, cannot be read, or is in another encoding.
    """
    path = Path(path)
    check_regular(path, what=what, advice=advice)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EANError(f"{what} {path} cannot be read ({error.strerror}): {advice}") from None
    if raw.startswith(_UTF16) or b"\0" in raw[:4]:
        raise EANError(f"{what} {path} is not in UTF-8 but seems to be in UTF-16: save it as UTF-8")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EANError(f"{what} {path} cannot be read as text in UTF-8 ({error.reason}): {advice}") from None


def read_json(path: str | Path, *, what: str = "file", advice: str) -> Any:
    """Read a JSON file; arguments as for `read_text`.

    Raises:
        EANError: as `read_text`, or if it is not JSON, holds NaN or infinity, or is nested too deep.
    """
    return parse_json(read_text(path, what=what, advice=advice), where=f"{what} {path}", advice=advice)


def parse_json(text: str, *, where: str, advice: str) -> Any:
    """Parse JSON.

    Args:
        text: the JSON.
        where: its origin in the error message.
        advice: what to do, at the end of the error message.

    Raises:
        EANError: if it is not JSON, gives a name twice, holds NaN or infinity, or is nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite, object_pairs_hook=without_repeats)
    except RecursionError:
        raise EANError(f"{where} cannot be read as JSON (it is nested too deep): {advice}") from None
    except ValueError as error:  # also for a number with thousands of digits
        raise EANError(f"{where} cannot be read as JSON ({first_line(error)}): {advice}") from None


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object from its names and values; of a name that is given twice, Python would drop the first value.

    Raises:
        ValueError: for such a name.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it gives {repeated!r} twice")
    return values


def _no_number(name: str) -> float:
    raise ValueError(f"it holds {name}, which is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {text[:20]}, which is too large")
    return value
