"""JSON as the standard has it: without NaN and infinity, which Python would write and other readers refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ean_core.utils.errors import EANError


def to_json(value: Any, *, what: str | Path, **options: Any) -> str:
    """A value's JSON.

    Args:
        value: of plain values.
        what: the file it is for, for the sentence.
        options: of `json.dumps`.

    Raises:
        EANError: naming the first number that is not finite.
    """
    try:
        return json.dumps(value, allow_nan=False, **options)
    except ValueError:
        name = where_not_finite(value)
        if name is None:
            raise
        raise EANError(
            f"{what} is not written, as {name} would be no finite number: if a training diverged, lower its learning "
            "rate"
        ) from None


def where_not_finite(value: Any, name: str = "") -> str | None:
    """The dotted name of the first number that is not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return name or "it"
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    found = (where_not_finite(one, f"{name}.{key}" if name else str(key)) for key, one in pairs)
    return next((one for one in found if one is not None), None)
