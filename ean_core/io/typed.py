"""Dataclasses from what a file says, every field checked: the one way in which our own files become values.

Our files are read by later versions and edited by hand, so that fields that are not known are ignored; what a field
holds must be of its kind, and a number must be finite and in its range.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ean_core.utils.errors import EANError

T = TypeVar("T")


class WrongValueError(Exception):
    """A value of another kind than its field's: the field's dotted name, what was expected, and what was found."""

    def __init__(self, name: str, expected: str, found: Any) -> None:
        self.name, self.expected, self.found = name, expected, found
        super().__init__(f"{name or 'the whole'} is {shorten(found)}, where {expected} was expected")


@dataclass(frozen=True)
class Range:
    """Limits of a number, or of a text's or list's length: `Annotated[int, Range(1)]`."""

    low: float = -math.inf
    high: float = math.inf

    def admits(self, value: Any) -> bool:
        """Whether a value is inside."""
        return self.low <= (len(value) if isinstance(value, str | list | tuple | dict) else value) <= self.high

    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}" if self.high < math.inf else f"of at least {self.low:g}"


Count = Annotated[int, Range(0)]
"""A whole number, 0 or more."""

Positive = Annotated[int, Range(1, 2**53)]
"""A whole number, 1 or more."""

Percent = Annotated[float, Range(0, 100)]
"""A number from 0 to 100."""


def checked(cls: type[T], value: Any, *, where: str, advice: str) -> T:
    """A dataclass from a dictionary of a file.

    Args:
        cls: a dataclass whose annotations are int, float, bool, str, None, Any, Literal, list, tuple, dict, Mapping,
            unions, other such dataclasses, and `Annotated` ones with a `Range`.
        value: what the file holds.
        where: the file, for the sentence.
        advice: ends the sentence: what to do.

    Raises:
        EANError: naming the first field that is missing or of another kind, and what it holds.
    """
    try:
        return convert(value, cls, "")
    except WrongValueError as error:
        raise EANError(f"{where} is damaged ({error}): {advice}") from None
    except RecursionError:
        raise EANError(f"{where} is damaged (it is nested too deep): {advice}") from None


def shorten(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, Missing):
        return "missing"
    if isinstance(value, Mapping):
        return f"a dictionary of {len(value)}"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"a list of {len(value)}"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested without measure, or a number of thousands of digits
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 60 else text[:57] + "..."


class Missing:
    """Stands for a field that is not there."""


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return get_type_hints(cls, include_extras=True)


def convert(value: Any, kind: Any, name: str) -> Any:
    """A value as its kind has it: lists become tuples where tuples are wanted, whole numbers floats.

    Raises:
        WrongValueError: if it is of another kind.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        made, limits = convert(value, arguments[0], name), arguments[1]
        if not limits.admits(made):
            raise WrongValueError(name, f"{describe(arguments[0])} {limits}", value)
        return made
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, kind, name)
    if origin is Literal:
        if not any(value == one and type(value) is type(one) for one in arguments):
            raise WrongValueError(name, " or ".join(map(repr, arguments)), value)
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, name)
    if origin in (list, tuple):
        return _sequence(value, kind, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise WrongValueError(name, "a dictionary", value)
        return {key: convert(one, arguments[1], f"{name}.{key}" if name else key) for key, one in value.items()}
    return _plain(value, kind, name)


def _plain(value: Any, kind: Any, name: str) -> Any:
    """None, a truth value, a number or a text."""
    if kind in (None, types.NoneType):
        fits = value is None
    elif kind is float:
        fits = type(value) in (int, float) and abs(value) < 1e300  # neither nan nor infinity
        value = float(value) if fits else value
    else:
        fits = type(value) is kind  # a bool is no int here
    if not fits:
        raise WrongValueError(name, describe(kind), value)
    return value


def _one_of(value: Any, kinds: tuple[Any, ...], whole: Any, name: str) -> Any:
    """A value of one of several kinds; of a dictionary the mistake inside it is what is said."""
    for kind in kinds:
        try:
            return convert(value, kind, name)
        except WrongValueError as error:
            if error.name != name:  # the right kind, with a mistake in it
                raise
    raise WrongValueError(name, describe(whole), value)


def _dataclass(value: Any, cls: Any, name: str) -> Any:
    """A nested dictionary."""
    if not isinstance(value, Mapping):
        raise WrongValueError(name, "a dictionary", value)
    hints, made = hints_of(cls), {}
    for one in dataclasses.fields(cls):
        dotted = f"{name}.{one.name}" if name else one.name
        if one.name in value:
            made[one.name] = convert(value[one.name], hints[one.name], dotted)
        elif (one.default, one.default_factory) == (dataclasses.MISSING, dataclasses.MISSING):
            raise WrongValueError(dotted, describe(hints[one.name]), Missing())
    return cls(**made)


def _sequence(value: Any, kind: Any, name: str) -> Any:
    """A list or a tuple, of one kind throughout or of a fixed length."""
    origin, kinds = get_origin(kind), get_args(kind)
    if not isinstance(value, list | tuple):
        raise WrongValueError(name, describe(kind), value)
    if origin is tuple and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            raise WrongValueError(name, f"a list of {len(kinds)}", value)
    else:
        kinds = kinds[:1] * len(value)
    return origin(convert(one, inner, f"{name}.{i}") for i, (one, inner) in enumerate(zip(value, kinds, strict=True)))


def describe(kind: Any) -> str:
    """What a kind is called in a sentence."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe(arguments[0])} {arguments[1]}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(one) for one in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (list, tuple):
        return "a list"
    if dataclasses.is_dataclass(kind) or origin is not None:
        return "a dictionary"
    words = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    return words.get(kind, "nothing")
