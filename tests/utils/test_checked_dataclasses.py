"""Values of recipes and of files: of their type and in their range, or a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from ean_core.io.json_file import read_json
from ean_core.io.records import FORMAT, read_record
from ean_core.io.scheme_record import read_scheme_file
from ean_core.scheme import Scheme
from ean_core.search.history import read_lines
from ean_core.utils.checked_dataclasses import Count, Range, arguments_class, build, checked
from ean_core.utils.errors import EANError


@dataclass(frozen=True)
class Inner:
    x: float


@dataclass(frozen=True)
class Outer:
    n: Count
    name: str
    kind: Literal["a", "b"] = "a"
    pair: tuple[int, int] = (0, 0)
    inner: tuple[Inner, ...] = ()
    share: Annotated[float, Range(0, 1)] | None = None
    more: Mapping[str, float] = field(default_factory=dict)
    any: Any = None
    flag: bool = False


GOOD = {"n": 3, "name": "x", "kind": "b", "pair": [1, 2], "inner": [{"x": 1}], "share": 0.5, "more": {"a": 1}}


def test_a_good_value() -> None:
    made = checked(Outer, {**GOOD, "unknown": 1}, where="f", advice="do")
    assert made == Outer(3, "x", "b", (1, 2), (Inner(1.0),), 0.5, {"a": 1.0})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n": -1}, "n is -1, where a whole number of at least 0"),
        ({"n": True}, "n is True, where a whole number"),
        ({"n": 1.0}, "n is 1.0"),
        ({"name": None}, "name is None, where a string"),
        ({"kind": "c"}, "kind is 'c', where 'a' or 'b'"),
        ({"pair": [1]}, r"pair is \[1\], where a list of 2"),
        ({"pair": "ab"}, "pair is 'ab'"),
        ({"inner": [{"x": 1}, {}]}, "inner.1.x is missing, where a finite number"),
        ({"inner": [{"x": float("nan")}]}, "inner.0.x is nan"),
        ({"inner": [{"x": 10**400}]}, "inner.0.x is 1000"),
        ({"inner": [{"x": 10**5000}]}, "inner.0.x is a int that cannot be shown"),
        ({"share": 1.5}, "share is 1.5"),
        ({"more": {"a": "b"}}, "more.a is 'b'"),
        ({"more": [1]}, "more is"),
        ({"flag": 1}, "flag is 1, where true or false"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EANError, match=f"^f is damaged .{sentence}.*: do$"):
        checked(Outer, {**GOOD, **change}, where="f", advice="do")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b"1" * 5000, "cannot be read as JSON"),
        (b'{"a": NaN}', "it holds NaN"),
        (b'{"a": 1e999}', "too large"),
        (b"{", "cannot be read as JSON"),
        (b"", "cannot be read as JSON"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        (b'"\xff"', "UTF-8"),
    ],
)
def test_bad_json(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(EANError, match=f"a.json .*{sentence}.*: do it again|{sentence}"):
        read_json(tmp_path / "a.json", advice="do it again")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    Scheme.parse("01 10", blocks=(2, 2)).save(tmp_path / "scheme.json")
    text = (tmp_path / "scheme.json").read_text()
    (tmp_path / "scheme.json").write_text(text, encoding="utf-8-sig")
    assert str(Scheme.load(tmp_path / "scheme.json")) == "0110"[:2] + " | " + "10"
    (tmp_path / "scheme.json").write_text(text, encoding="utf-16")
    with pytest.raises(EANError, match="UTF-16: save it as UTF-8"):
        Scheme.load(tmp_path / "scheme.json")


@pytest.mark.parametrize("change", [{"kind": None}, {"metrics": 3}, {"settings": []}, {"environment": 1}])
def test_a_damaged_record_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    import json

    record = {"format": FORMAT, "kind": "train", "settings": {}, "metrics": {}, **change}
    (tmp_path / "r.json").write_text(json.dumps(record))
    with pytest.raises(EANError, match=f"record .*r.json is damaged .{next(iter(change))} is"):
        read_record(tmp_path / "r.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"blocks": [2], "stages": [3]}',
        '{"blocks": [-2], "stages": ["01"]}',
        '{"blocks": [true], "stages": ["0"]}',
        '{"blocks": 3, "stages": ["01"]}',
        '{"blocks": [2], "stages": ["02"]}',
        '{"blocks": [2], "stages": ["01"], "arch": 3}',
        "[]",
    ],
)
def test_a_damaged_scheme_file_gets_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(EANError, match=r"s\.json"):
        read_scheme_file(tmp_path / "s.json")


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1, "bits": 3, "accuracy": 1}',
        '{"step": -1, "bits": "01", "accuracy": 1}',
        '{"step": 1, "bits": "02", "accuracy": 1}',
        '{"step": 1, "bits": "", "accuracy": 1}',
        '{"step": 1, "bits": "01", "accuracy": NaN}',
        '{"step": 1, "bits": "01", "accuracy": "high"}',
        '{"step": 1, "bits": "01", "accuracy": 1, "reward": []}',
        '{"step": 1, "bits": "01"}',
        "[]",
        "[" * 10_000,
    ],
)
def test_a_damaged_line_of_a_history_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "h.jsonl").write_text(f'{{"step": 1, "bits": "01", "accuracy": 1}}\n{line}\n')
    with pytest.raises(EANError, match=r"h\.jsonl, line 2, .*remove this line and those after it"):
        read_lines(tmp_path / "h.jsonl")


# -- recipes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    rate: float = 0.5
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Settings:
    kind: ClassVar[str] = "test"
    inner: Section
    name: str
    count: int | None = None
    fill: int | tuple[int, ...] = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Section | None = None


def test_sections_are_built_at_any_depth() -> None:
    values = {"inner": {"rate": 1, "sizes": [3, 4]}, "name": "a", "fill": [1, 2], "options": {"b": [1]}}
    assert build(Settings, values, where="file") == Settings(Section(1, (3, 4)), "a", None, (1, 2), {"b": [1]}, None)
    assert build(Settings, {"inner": {}, "name": "a", "extra": {"rate": 2.0}}, where="file").extra == Section(2.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"nmae": "b"}, "^unknown field 'nmae' in file: choose one of inner, .*; did you mean 'name'"),
        ({"inner": {"rates": 1}}, "^unknown field 'rates' in section 'inner' of file: .* did you mean 'rate'"),
        ({"extra": {"sizes": 3}}, "^file: extra.sizes must be a list of whole numbers, got 3$"),
        ({"inner": None}, "^file lacks the section 'inner': add it$"),
        ({"inner": 3}, "^file: inner must be a dictionary, got 3$"),
        ({"extra": 3}, r"^file: extra must be a dictionary or None, got 3$"),
        ({"count": 1.5}, r"^file: count must be a whole number or None, got 1.5$"),
        ({"count": True}, r"^file: count must be a whole number or None, got True$"),
        ({"inner": {"rate": False}}, "^file: inner.rate must be a finite number, got False$"),
        ({"inner": {"sizes": [1, "2"]}}, "^file: inner.sizes.1 must be a whole number, got '2'$"),
        ({"inner": {"sizes": "12"}}, "^file: inner.sizes must be a list of whole numbers, got '12'$"),
        ({"fill": "black"}, r"^file: fill must be a whole number or a list of whole numbers, got 'black'$"),
        ({"options": 5}, "^file: options must be a dictionary, got 5$"),
        ({"options": {1: 2}}, "^file: options must be a dictionary with strings as keys, got 1$"),
        ({"inner": {"rate": float("nan")}}, "^file: inner.rate must be a finite number, got nan$"),
        ({"name": None}, "^file: name must be a string, got None$"),
    ],
)
def test_every_mistake_has_its_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        build(Settings, {"inner": {}, "name": "a", **changes}, where="file")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(EANError, match="^file lacks the field 'name': add it$"):
        build(Settings, {"inner": {}}, where="file")


def test_the_arguments_of_a_class_are_fields() -> None:
    class Method:
        def __init__(self, blocks: tuple[int, ...], size: int, *, rate: float = 0.5) -> None: ...

    arguments = arguments_class(Method, without=("blocks",))
    built = build(arguments, {"size": 3}, where="options")
    assert (built.size, built.rate) == (3, 0.5)
    with pytest.raises(EANError, match="^unknown option 'sise' in options: .* size, rate; did you mean 'size'"):
        build(arguments, {"sise": 3}, where="options", what="option")


def test_arguments_without_types_or_with_lists_as_defaults_are_fields() -> None:
    def method(steps, sizes=[1, 2], *rest, kernel: Callable[[int], int] = abs, **more): ...  # noqa: B006

    arguments = arguments_class(method)
    built = build(arguments, {"steps": "any"}, where="options")
    assert (built.steps, built.sizes, built.kernel) == ("any", [1, 2], abs)
    with pytest.raises(EANError, match="unknown option 'rest' in options: choose one of steps, sizes, kernel"):
        build(arguments, {"steps": 1, "rest": 2}, where="options", what="option")


def test_a_class_without_arguments_has_no_options() -> None:
    with pytest.raises(EANError, match="^unknown option 'a' in options: leave it out, since there are none$"):
        build(arguments_class(Plain), {"a": 1}, where="options", what="option")


class Plain:
    """Takes nothing."""


def test_objects_of_a_recipe_pass() -> None:
    assert build(Settings, {"inner": Section(2.0), "name": "a"}, where="file").inner == Section(2.0)
