"""Convert dictionaries to dataclasses, checking the type of every field.

`build` is for settings that a user writes: an unknown field is a mistake, and the nearest name is suggested. `checked`
is for the content of our own files, which may come from later versions: unknown fields are ignored. Both require the
annotated types, and finite numbers within their ranges.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ean_core.utils.errors import EANError, unknown_name

T = TypeVar("T")


class WrongValueError(Exception):
    """A value of the wrong type: the field's dotted name, the expected type, and the value."""

    def __init__(self, name: str, expected: str, found: Any) -> None:
        self.name, self.expected, self.found = name, expected, found
        super().__init__(f"{name or 'the content'} is {shorten(found)}, where {expected} was expected")


class UnknownFieldError(Exception):
    """A field that a dataclass lacks: the dotted name of its section, its own name, and the names that there are."""

    def __init__(self, section: str, name: Any, names: list[str]) -> None:
        self.section, self.name, self.names = section, name, names
        super().__init__(f"unknown field {name!r}")


DICTIONARY = "a dictionary"


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


def build(cls: type[T], values: Mapping[str, Any], *, where: str, what: str = "field") -> T:
    """Build a dataclass of settings, with nested dataclasses, from a nested dictionary.

    Args:
        cls: a dataclass of types as for `checked`, or of other classes, whose instances are taken as they are.
        values: its fields. Lists become tuples; integers pass as floats, but booleans do not pass as numbers.
        where: the dictionary, for error messages: "recipe.py".
        what: a field in error messages, such as "option".

    Raises:
        EANError: for an unknown or missing field, or a value of the wrong type.
    """
    try:
        return convert(values, cls, "", ignore_unknown=False)
    except UnknownFieldError as error:
        place = f"section {error.section!r} of {where}" if error.section else where
        raise unknown_name(what, error.name, error.names, where=place) from None
    except WrongValueError as error:
        if isinstance(error.found, Missing):
            raise EANError(f"{where} lacks the {what} {error.name!r}: add it") from None
        if error.found is None and error.expected == DICTIONARY:
            raise EANError(f"{where} lacks the section {error.name!r}: add it") from None
        name = error.name or "the content"
        raise EANError(f"{where}: {name} must be {error.expected}, got {shorten(error.found)}") from None
    except RecursionError:
        raise EANError(f"{where} is nested too deep: give fewer levels") from None


def checked(cls: type[T], value: Any, *, where: str, advice: str) -> T:
    """Convert a dictionary from a file to a dataclass.

    Args:
        cls: a dataclass, or another type, of int, float, bool, str, None, Any, Literal, list, tuple, dict, Mapping,
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


def check_arguments(function: str, **given: tuple[Any, Any]) -> None:
    """Check the arguments of a public function, so that a mistake does not show deep inside another library.

    Args:
        function: its name, for the message.
        given: name of an argument -> its value, and a type as for `checked`. NumPy's numbers pass as Python's.

    Raises:
        EANError: for the first argument of the wrong type or out of range.
    """
    for name, (value, kind) in given.items():
        plain = value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 else value
        try:
            convert(plain, kind, name)
        except WrongValueError as error:
            raise EANError(f"{function}: {error.name} must be {error.expected}, got {shorten(value)}") from None


def arguments_class(function: Callable[..., Any], *, without: Sequence[str] = ()) -> type:
    """Make a dataclass with a function's arguments as its fields, for `build`.

    Args:
        function: a class or function. Arguments without an annotation take any value.
        without: arguments to leave out; *args and **kwargs are left out too.
    """
    target = function.__init__ if inspect.isclass(function) else function
    try:
        hints = get_type_hints(target, include_extras=True)
    except NameError:  # imported for type checkers only
        hints = {}
    fields = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in without or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        given = {} if parameter.default is parameter.empty else {"default_factory": partial(_same, parameter.default)}
        fields.append((parameter.name, hints.get(parameter.name, Any), dataclasses.field(**given)))
    return dataclasses.make_dataclass("Arguments", fields, kw_only=True)


def _same(value: Any) -> Any:
    return value


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
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "..."


class Missing:
    """Stands for the value of a missing field."""


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The resolved types of a dataclass's fields, cached."""
    return get_type_hints(cls, include_extras=True)


def convert(value: Any, kind: Any, name: str = "", *, ignore_unknown: bool = True) -> Any:
    """Convert a value to a type: lists to tuples and integers to floats where the type says so.

    Args:
        value: to convert.
        kind: a type as `checked` takes it.
        name: dotted, of the value, for error messages.
        ignore_unknown: whether nested dictionaries may have fields that their dataclasses lack.

    Raises:
        WrongValueError: if the value has another type.
        UnknownFieldError: for an unknown field, unless they are ignored.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    inner = partial(convert, ignore_unknown=ignore_unknown)
    if kind is Any:
        return value
    if origin is Annotated:
        converted = inner(value, arguments[0], name)
        for limits in arguments[1:]:
            if isinstance(limits, Range) and not limits.admits(converted):
                raise WrongValueError(name, f"{describe(arguments[0])} {limits}", value)
        return converted
    if origin in (Union, types.UnionType):
        return _one_of(value, arguments, kind, name, inner)
    if origin is Literal:
        if not any(value == item and type(value) is type(item) for item in arguments):
            raise WrongValueError(name, " or ".join(map(repr, arguments)), value)
        return value
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else _dataclass(value, kind, name, ignore_unknown)
    if origin in (list, tuple, Sequence):
        return _sequence(value, kind, name, inner)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise WrongValueError(name, DICTIONARY, value)
        for key in value:
            if not isinstance(key, str):
                raise WrongValueError(name, f"{DICTIONARY} with strings as keys", key)
        return {key: inner(item, arguments[1], f"{name}.{key}" if name else key) for key, item in value.items()}
    return _plain(value, kind, name)


def _plain(value: Any, kind: Any, name: str) -> Any:
    """Check None, a bool, a number, a string, or an instance of another class."""
    if kind in (None, types.NoneType):
        fits = value is None
    elif kind is float:
        fits = type(value) in (int, float) and abs(value) < 1e300  # neither nan nor infinity
        value = float(value) if fits else value
    elif kind in _NAMES:
        fits = type(value) is kind  # so that True is not an int
    else:
        fits = not inspect.isclass(kind) or isinstance(value, kind)
    if not fits:
        raise WrongValueError(name, describe(kind), value)
    return value


def _one_of(value: Any, kinds: tuple[Any, ...], union: Any, name: str, inner: Callable[..., Any]) -> Any:
    """Convert to the first member of a union that fits; an error inside a nested dictionary is raised as it is."""
    for kind in kinds:
        try:
            return inner(value, kind, name)
        except WrongValueError as error:
            if error.name != name:  # the right type, with an error inside
                raise
    raise WrongValueError(name, describe(union), value)


def _dataclass(value: Any, cls: Any, name: str, ignore_unknown: bool) -> Any:
    """Convert a nested dictionary to a dataclass."""
    if not isinstance(value, Mapping):
        raise WrongValueError(name, DICTIONARY, value)
    hints, values = hints_of(cls), {}
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    if unknown := [] if ignore_unknown else [key for key in value if key not in fields]:
        raise UnknownFieldError(name, unknown[0], list(fields))
    for key, field in fields.items():
        dotted = f"{name}.{key}" if name else key
        if key in value:
            values[key] = convert(value[key], hints[key], dotted, ignore_unknown=ignore_unknown)
        elif (field.default, field.default_factory) == (dataclasses.MISSING, dataclasses.MISSING):
            raise WrongValueError(dotted, describe(hints[key]), Missing())
    return cls(**values)


def _sequence(value: Any, kind: Any, name: str, inner: Callable[..., Any]) -> Any:
    """Convert a list or a tuple, homogeneous or of fixed length."""
    origin, kinds = get_origin(kind), get_args(kind)
    if not isinstance(value, list | tuple):
        raise WrongValueError(name, describe(kind), value)
    if origin is tuple and kinds[-1] is not Ellipsis:
        if len(value) != len(kinds):
            raise WrongValueError(name, f"a list of {len(kinds)}", value)
    else:
        kinds = kinds[:1] * len(value)
    prefix = f"{name}." if name else ""
    items = [inner(item, kind, f"{prefix}{i}") for i, (item, kind) in enumerate(zip(value, kinds, strict=True))]
    return items if origin is list else tuple(items)


_NAMES = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("true or false", "true or false"),
    str: ("a string", "strings"),
}
"""One value of a type, and several, in error messages."""


def describe(kind: Any) -> str:
    """The name of a type in an error message."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        limits = [str(item) for item in arguments[1:] if isinstance(item, Range)]
        return " ".join([describe(arguments[0]), *limits])
    if origin in (Union, types.UnionType):
        return " or ".join(describe(item) for item in arguments)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (list, tuple, Sequence):
        several = _NAMES.get(arguments[0], ("", ""))[1]
        return f"a list of {several}" if several and arguments[1:] in ((), (Ellipsis,)) else "a list"
    if dataclasses.is_dataclass(kind) or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return DICTIONARY
    if kind in _NAMES:
        return _NAMES[kind][0]
    return "None" if kind in (None, types.NoneType) else getattr(kind, "__name__", str(kind))
