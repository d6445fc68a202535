"""How figures are written in a table's cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.blocks import GAP


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a gap."""
    return GAP if value is None else f"{value:.{digits}f}"


def spread(value: Mapping[str, Any] | float | None, digits: int = 2) -> str:
    """Mean, and the standard deviation where there are several values; a plain number as it is."""
    if not isinstance(value, Mapping):
        return number(value, digits)
    deviation = "" if value.get("std") is None else f" ± {value['std']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{deviation}"


def interval(value: Mapping[str, float] | None, digits: int = 1) -> str:
    """A value with its interval, or a gap."""
    if value is None:
        return GAP
    return f"{value['value']:.{digits}f} ({value['low']:.{digits}f} to {value['high']:.{digits}f})"


def percent(value: Mapping[str, float] | None) -> str:
    """A fraction with its interval, in percent; 0 for the reference itself."""
    return "0" if value is None else interval({key: 100 * value[key] for key in ("value", "low", "high")})


def counted(value: int | None) -> str:
    """A whole number with thousands marked, or a gap."""
    return GAP if value is None else f"{value:,}"


def seeds(number_of: int) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{number_of} seed{'' if number_of == 1 else 's'}"
