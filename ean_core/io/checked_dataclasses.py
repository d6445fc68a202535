"""Convert the content of our own files to dataclasses, checking the type of every field.

Files may come from later versions or be edited by hand, so unknown fields are ignored. Values must have the annotated
type, and numbers must be finite and in range.
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
    """A value of the wrong type: the field's dotted name, the expected type, and the value."""

    def __init__(self, name: str, expected: str, found: Any) -> None:
        self.name, self.expected, self.found = name, expected, found
        super().__init__(f"{name or 'the content'} is {shorten(found)}, where {expected} was expected")


@dataclass(frozen=True)
class Range:
    """Limits of a number, or of the length of a string or list: `Annotated[int, Range(1)]`."""

    low: float = -math.inf
    high: float = math.inf

    def admits(self, value: Any) -> bool:
        """Whether a number, or the length of a container, is within the limits."""
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
    """Convert a dictionary from a file to a dataclass.

    Args:
        cls: a dataclass whose annotations are int, float, bool, str, None, Any, Literal, list, tuple, dict, Mapping,
            unions, other such dataclasses, and `Annotated` ones with a `Range`.
        value: the content of the file.
        where: the file, for the error message.
        advice: what to do, at the end of the error message.

    Raises:
        EANError: for the first field that is missing or of the wrong type, with its value.
    """
    try:
        return convert(value, cls, "")
    except WrongValueError as error:
        raise EANError(f"{where} is damaged ({error}): {advice}") from None
    except RecursionError:
        raise EANError(f"{where} is damaged (it is nested too deep): {advice}") from None


def shorten(value: Any) -> str:
    """A short text for a value in an error message."""
    if isinstance(value, Missing):
        return "missing"
    if isinstance(value, Mapping):
        return f"a dictionary of {len(value)}"
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"a list of {len(value)}"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or a number with thousands of digits
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= 60 else text[:57] + "..."


class Missing:
    """Stands for the value of a missing field."""


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The resolved types of a dataclass's fields, cached."""
    return get_type_hints(cls, include_extras=True)


def convert(value: Any, kind: Any, name: str) -> Any:
    """Convert a value to a type: lists to tuples and integers to floats where the type says so.

    Raises:
        WrongValueError: if the value has another type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        converted, limits = convert(value, arguments[0], name), arguments[1]
        if not limits.admits(converted):
            raise WrongValueError(name, f"{describe(arguments[0])} {limits}", value)
        return converted
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, kind, name)
    if origin is Literal:
        if not any(value == item and type(value) is type(item) for item in arguments):
            raise WrongValueError(name, " or ".join(map(repr, arguments)), value)
        return value
    if dataclasses.is_dataclass(kind):
        return _dataclass(value, kind, name)
    if origin in (list, tuple):
        return _sequence(value, kind, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise WrongValueError(name, "a dictionary", value)
        return {key: convert(item, arguments[1], f"{name}.{key}" if name else key) for key, item in value.items()}
    return _plain(value, kind, name)


def _plain(value: Any, kind: Any, name: str) -> Any:
    """Check None, a bool, a number or a string."""
    if kind in (None, types.NoneType):
        fits = value is None
    elif kind is float:
        fits = type(value) in (int, float) and abs(value) < 1e300  # neither nan nor infinity
        value = float(value) if fits else value
    else:
        fits = type(value) is kind  # so that True is not an int
    if not fits:
        raise WrongValueError(name, describe(kind), value)
    return value


def _one_of(value: Any, kinds: tuple[Any, ...], union: Any, name: str) -> Any:
    """Convert to the first member of a union that fits; an error inside a nested dictionary is raised as it is."""
    for kind in kinds:
        try:
            return convert(value, kind, name)
        except WrongValueError as error:
            if error.name != name:  # the right type, with an error inside
                raise
    raise WrongValueError(name, describe(union), value)


def _dataclass(value: Any, cls: Any, name: str) -> Any:
    """Convert a nested dictionary to a dataclass."""
    if not isinstance(value, Mapping):
        raise WrongValueError(name, "a dictionary", value)
    hints, values = hints_of(cls), {}
    for field in dataclasses.fields(cls):
        dotted = f"{name}.{field.name}" if name else field.name
        if field.name in value:
            values[field.name] = convert(value[field.name], hints[field.name], dotted)
        elif (field.default, field.default_factory) == (dataclasses.MISSING, dataclasses.MISSING):
            raise WrongValueError(dotted, describe(hints[field.name]), Missing())
    return cls(**values)


def _sequence(value: Any, kind: Any, name: str) -> Any:
    """Convert a list or a tuple, homogeneous or of fixed length."""
    origin, kinds = get_origin(kind), get_args(kind)
    if not isinstance(value, list | tuple):
        raise WrongValueError(name, describe(kind), value)
    if origin is tuple and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            raise WrongValueError(name, f"a list of {len(kinds)}", value)
    else:
        kinds = kinds[:1] * len(value)
    return origin(convert(item, inner, f"{name}.{i}") for i, (item, inner) in enumerate(zip(value, kinds, strict=True)))


def describe(kind: Any) -> str:
    """The name of a type in an error message."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return f"{describe(arguments[0])} {arguments[1]}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(item) for item in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (list, tuple):
        return "a list"
    if dataclasses.is_dataclass(kind) or origin is not None:
        return "a dictionary"
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}
    return names.get(kind, "nothing")
