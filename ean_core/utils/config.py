"""Typed sections from dictionaries: every field has a known name and kind, and a mistake gets a sentence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from ean_core.utils.errors import EANError, unknown_name


def build(cls: type, values: Mapping[str, Any], *, where: str, sections: Mapping[str, type] | None = None) -> Any:
    """Make a section's dataclass from a dictionary, refusing what it does not know.

    Args:
        cls: a dataclass.
        values: its fields; those named in `sections` are dictionaries themselves.
        where: what to call it in an error.
        sections: field name -> dataclass, at any depth.

    Raises:
        EANError: for an unknown or missing field, or a value of the wrong kind.
    """
    sections = sections or {}
    fields = {one.name: one for one in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise unknown_name(f"field in {where}", key, list(fields))
    required = (dataclasses.MISSING, dataclasses.MISSING)
    for name, one in fields.items():
        if name not in values and (one.default, one.default_factory) == required:
            raise EANError(f"{where} lacks the field {name!r}")
    made = {}
    for key, value in values.items():
        if key in sections and value is not None:
            if not isinstance(value, Mapping):
                raise EANError(f"{where}: {key} must be a dictionary, got {value!r}")
            value = build(sections[key], value, where=f"{where}, section {key!r}", sections=sections)
        elif isinstance(value, list):
            value = tuple(value)
        check_kind(value, str(fields[key].type), name=key, where=where)
        made[key] = value
    return cls(**made)


def check_kind(value: Any, annotation: str, *, name: str, where: str) -> None:
    """Refuse a value of another kind than an annotation says; whole numbers pass as floats.

    Args:
        value: what was given.
        annotation: as it is written: "int | None".
        name: of the field or argument, for the message.
        where: what holds it, for the message.

    Raises:
        EANError: for a value of another kind.
    """
    if (match := re.fullmatch(r"tuple\[(int|str), \.\.\.\]", annotation)) is not None:
        kind = {"int": int, "str": str}[match[1]]
        if not isinstance(value, tuple) or not all(isinstance(item, kind) for item in value):
            raise EANError(f"{where}: {name} must be a list of {match[1]}, got {value!r}")
        return
    if annotation.startswith("Mapping") and not isinstance(value, Mapping):
        raise EANError(f"{where}: {name} must be a dictionary, got {value!r}")
    kinds = {"int": int, "float": (int, float), "bool": bool, "str": str}
    wanted = [kind.strip() for kind in annotation.split("|")]
    if not all(kind in kinds or kind == "None" for kind in wanted):
        return
    fits = any(
        value is None
        if kind == "None"
        else isinstance(value, kinds[kind]) and (kind == "bool") == isinstance(value, bool)
        for kind in wanted
    )
    if not fits:
        raise EANError(f"{where}: {name} must be {annotation}, got {value!r}")
