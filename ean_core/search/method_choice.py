"""How a user names a search method and its options: `ean:natural`, `hsp:period=2`, `FILE.py:Class:decay=0.9`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ean_core.cli import literal
from ean_core.search import METHODS, load_method, long_name
from ean_core.utils.errors import EANError, unknown_name


@dataclass(frozen=True)
class MethodChoice:
    """A search method with its options.

    Attributes:
        label: as the user wrote it, with the method's long name and without a file's folder; names its rows.
        method: a name of `ean_core.search.METHODS`.
        options: of the method, by name.
    """

    label: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The label as part of a file name."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", self.label)


def parse_method(text: str) -> MethodChoice:
    """Parse a method and its options, which follow after colons; an option without "=" is a preset.

    A class of the user's own is imported, which runs its file: the text is the user's word.

    Raises:
        EANError: for an unknown name, an empty option, one given twice, or a class that cannot be imported or is not a
            search method.
    """
    method, *option_texts = text.strip().split(":")
    method = long_name(method)
    if method not in METHODS and (method.endswith(".py") or re.match(r"[A-Z]\w*$", "".join(option_texts[:1]))):
        reference, option_texts = ":".join([method, *option_texts[:1]]), option_texts[1:]
        method = reference if reference in METHODS else load_method(reference)
    if method not in METHODS:
        raise unknown_name("search method", method, list(METHODS))
    options: dict[str, Any] = {}
    for option in option_texts:
        name, sign, value = option.partition("=")
        if not option:
            raise EANError(f"method {text!r} has an empty option: write METHOD:PRESET or METHOD:OPTION=VALUE")
        name, value = (name, value) if sign else ("preset", name)
        if name in options:
            raise EANError(f"method {text!r} gives {name} twice: give it once")
        options[name] = literal(value)
    return MethodChoice(":".join([method, *option_texts]), method, options)


def parse_methods(texts: Sequence[str]) -> list[MethodChoice]:
    """Parse the methods of a comparison, separated by commas or blanks, such as `["ean,random", "hsp:period=2"]`.

    Raises:
        EANError: as `parse_method`; if there is no method, or a method is given twice.
    """
    choices = [parse_method(part) for text in texts for part in text.split(",") if part.strip()]
    slugs = [choice.slug for choice in choices]
    if not choices or len(set(slugs)) < len(slugs):
        labels = ", ".join(choice.label for choice in choices) or "nothing"
        raise EANError(f"the methods to compare must be different, and at least one, got {labels}: give each once")
    return choices
