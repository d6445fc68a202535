"""Build typed config sections (dataclasses) from dictionaries; wrong names and types are errors.

Types come from the dataclasses' annotations and are checked by dacite.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import dacite

from ean_core.utils.errors import EANError, unknown_name

T = TypeVar("T")


def build(cls: type[T], values: Mapping[str, Any], *, where: str, unknown: str | None = None) -> T:
    """Build a dataclass, with nested dataclasses, from a nested dictionary.

    Args:
        cls: a dataclass; its annotations must resolve at run time.
        values: its fields. Lists become tuples; integers pass as floats, but booleans do not pass as numbers.
        where: name of the dictionary in error messages, such as "recipe.py, section 'train'".
        unknown: name of an unknown field in error messages; None: "field in " and `where`.

    Raises:
        EANError: for an unknown or missing field, or a value of the wrong type.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    hints = get_type_hints(cls)
    fields_given: dict[str, Any] = {}
    for name, value in values.items():
        if name not in names:
            raise unknown_name(unknown or f"field in {where}", name, names)
        section = section_class(hints[name])
        if section is not None and isinstance(value, Mapping):
            value = build(section, value, where=f"{where}, section {name!r}")
        elif value is None and section is hints[name]:
            raise EANError(f"{where} lacks the section {name!r}: add it")
        fields_given[name] = tuple(value) if isinstance(value, list) else value
    try:
        return dacite.from_dict(cls, fields_given, dacite.Config(type_hooks={int: refuse_bool, float: refuse_bool}))
    except dacite.MissingValueError as error:
        raise EANError(f"{where} lacks the field {error.field_path!r}") from None
    except dacite.WrongTypeError as error:
        name = str(error.field_path)
        raise EANError(f"{where}: {name} must be {type_text(hints[name])}, got {values[name]!r}") from None


def arguments_class(function: Callable[..., Any], *, without: Sequence[str] = ()) -> type:
    """Make a dataclass with a function's arguments as its fields, for `build`.

    Args:
        function: a class or function whose annotations resolve at run time.
        without: arguments to leave out.
    """
    hints = get_type_hints(function.__init__ if inspect.isclass(function) else function)
    parameters = inspect.signature(function).parameters.values()
    fields = [
        (
            name,
            hints.get(name, Any),
            dataclasses.field(**({} if default is inspect.Parameter.empty else {"default": default})),
        )
        for name, default in ((parameter.name, parameter.default) for parameter in parameters)
        if name not in without
    ]
    return dataclasses.make_dataclass("Arguments", fields, kw_only=True)


def section_class(hint: Any) -> type | None:
    """The dataclass in a field's type, also if optional; None for other types."""
    return next((kind for kind in (hint, *get_args(hint)) if dataclasses.is_dataclass(kind)), None)


def refuse_bool(value: Any) -> Any:
    """Reject booleans in numeric fields, since Python's bool is a subclass of int."""
    if isinstance(value, bool):
        raise dacite.WrongTypeError(field_type=int, value=value)
    return value


def type_text(hint: Any) -> str:
    """A type's name in error messages: "int | None", "a list of str", "a dictionary"."""
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(type_text, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list of {type_text(get_args(hint)[0])}"
    if dataclasses.is_dataclass(hint) or (inspect.isclass(get_origin(hint)) and issubclass(get_origin(hint), Mapping)):
        return "a dictionary"
    return "None" if hint is types.NoneType else getattr(hint, "__name__", str(hint))
