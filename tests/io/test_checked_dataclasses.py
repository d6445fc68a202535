"""Values of files: of their kind and in their range, or a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from ean_core.io.checked_dataclasses import Count, Range, checked
from ean_core.io.json_file import read_json
from ean_core.io.records import FORMAT, read_record
from ean_core.scheme import Scheme, read_scheme_file
from ean_core.search.history import read_lines
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
        ({"name": None}, "name is None, where a text"),
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
