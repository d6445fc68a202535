"""How figures are written in the cells of tables, and sentences in their notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ean_core.report.elements import GAP
from ean_core.report.typed_rows import Mean
from ean_core.utils.intervals import Interval
from ean_core.utils.text import how_many


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; a gap for None."""
    return GAP if value is None else f"{value:.{digits}f}"


def mean(value: Mean | None, digits: int = 2) -> str:
    """`93.10 ± 0.20`, without the deviation for a single value; a gap for None."""
    if value is None:
        return GAP
    deviation = "" if value.std is None else f" ± {value.std:.{digits}f}"
    return f"{value.mean:.{digits}f}{deviation}"


def recorded_mean(value: Mapping[str, Any] | float | None, digits: int = 2) -> str:
    """`mean` of a record's "mean" and "std"; a plain number is written alone, and None as a gap."""
    return mean(Mean(value["mean"], value.get("std")), digits) if isinstance(value, Mapping) else number(value, digits)


def interval(value: Interval | None, digits: int = 1) -> str:
    """`0.2 (0.1 to 0.3)`; a gap for None."""
    return GAP if value is None else ranged(value.value, value.low, value.high, digits=digits)


def recorded_interval(value: Mapping[str, float | None] | None, digits: int = 1) -> str:
    """`interval` of a record's "value", "low" and "high".

    A gap where there is no value since nothing varied; the value alone where it is of too little for an interval.
    """
    if not value or value["value"] is None:
        return GAP
    ends = value["low"], value["high"]
    return number(value["value"], digits) if None in ends else ranged(value["value"], *ends, digits=digits)


def ranged(value: float, low: float, high: float, *, digits: int = 2) -> str:
    """A value with the ends of its interval, as `0.20 (0.10 to 0.30)`."""
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def percent(fraction: Interval | None) -> str:
    """A fraction with its interval, in percent; 0 for None, which stands for the reference itself."""
    return "0" if fraction is None else interval(fraction.scaled(100))


def counted(value: int | None) -> str:
    """A whole number with commas between the thousands; a gap for None."""
    return GAP if value is None else f"{value:,}"


def seeds(number_of: int) -> str:
    """`1 seed`, `3 seeds, mean ± standard deviation`: what the figures of a table are over."""
    return how_many(number_of, "seed") + (", mean ± standard deviation" if number_of > 1 else "")


def sentence(text: str) -> str:
    """A text with a capital at its beginning and a full stop at its end; "" stays so."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "." if text else ""
