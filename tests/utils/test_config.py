"""Sections from dictionaries: what is accepted, and the sentence for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from ean_core.utils.config import arguments_class, build
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    kind: ClassVar[str] = "test"
    inner: Inner
    name: str
    count: int | None = None
    fill: int | tuple[int, ...] = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Inner | None = None


def test_sections_are_built_at_any_depth() -> None:
    values = {"inner": {"rate": 1, "sizes": [3, 4]}, "name": "a", "fill": [1, 2], "options": {"b": [1]}}
    assert build(Outer, values, where="file") == Outer(Inner(1, (3, 4)), "a", None, (1, 2), {"b": [1]}, None)
    assert build(Outer, {"inner": {}, "name": "a", "extra": {"rate": 2.0}}, where="file").extra == Inner(2.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nmae": "b"}, "^unknown field in file 'nmae': choose one of inner, .*; did you mean 'name'"),
        ({"inner": {"rates": 1}}, "^unknown field in file, section 'inner' 'rates': .* did you mean 'rate'"),
        ({"extra": {"sizes": 3}}, "^file, section 'extra': sizes must be a list of int, got 3$"),
        ({"inner": None}, "^file lacks the section 'inner': add it$"),
        ({"inner": 3}, "^file: inner must be a dictionary, got 3$"),
        ({"extra": 3}, r"^file: extra must be a dictionary \| None, got 3$"),
        ({"count": 1.5}, r"^file: count must be int \| None, got 1.5$"),
        ({"count": True}, r"^file: count must be int \| None, got True$"),
        ({"inner": {"rate": False}}, "^file, section 'inner': rate must be float, got False$"),
        ({"inner": {"sizes": [1, "2"]}}, r"^file, section 'inner': sizes must be a list of int, got \[1, '2'\]$"),
        ({"inner": {"sizes": "12"}}, "^file, section 'inner': sizes must be a list of int, got '12'$"),
        ({"fill": "black"}, r"^file: fill must be int \| a list of int, got 'black'$"),
        ({"options": 5}, "^file: options must be a dictionary, got 5$"),
        ({"name": None}, "^file: name must be str, got None$"),
    ],
)
def test_every_mistake_has_its_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        build(Outer, {"inner": {}, "name": "a", **changes}, where="file")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(EANError, match="^file lacks the field 'name'$"):
        build(Outer, {"inner": {}}, where="file")


def test_the_arguments_of_a_class_are_fields() -> None:
    class Method:
        def __init__(self, blocks: tuple[int, ...], size: int, *, rate: float = 0.5) -> None: ...

    arguments = arguments_class(Method, without=("blocks",))
    built = build(arguments, {"size": 3}, where="options")
    assert (built.size, built.rate) == (3, 0.5)
    with pytest.raises(EANError, match="^unknown option 'sise': choose one of size, rate; did you mean 'size'"):
        build(arguments, {"sise": 3}, where="options", unknown="option")
