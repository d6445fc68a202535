"""Standard JSON, without NaN and infinity, which Python would write and other readers reject."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ean_core.utils.errors import EANError


def to_json(value: Any, *, what: str | Path, **options: Any) -> str:
    """Serialize to JSON.

    Args:
        value: nested dictionaries and lists of plain values.
        what: the file to be written, for the error message.
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
            f"{what} was not written, because {name} is not a finite number: if training diverged, lower the learning "
            "rate"
        ) from None


def where_not_finite(value: Any, name: str = "") -> str | None:
    """The dotted name of the first number that is not finite; None if all are."""
    if isinstance(value, float) and not math.isfinite(value):
        return name or "it"
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    names = (where_not_finite(item, f"{name}.{key}" if name else str(key)) for key, item in pairs)
    return next((name for name in names if name is not None), None)
