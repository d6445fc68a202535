"""Scheme: bits in, bits out, and a sentence for everything else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ean_core import EANError, Scheme
from ean_core.scheme import as_scheme, check_attention

BLOCKS = (3, 4, 2)


@pytest.mark.parametrize("text", ["011 0101 10", "011|0101|10", "0,1,1,0101,10", "011010110", "011_0101_10"])
def test_parse_ignores_separators(text: str) -> None:
    scheme = Scheme.parse(text, blocks=BLOCKS)
    assert scheme.bits == (0, 1, 1, 0, 1, 0, 1, 1, 0)
    assert scheme.stages == ((0, 1, 1), (0, 1, 0, 1), (1, 0))
    assert str(scheme) == "011 | 0101 | 10"
    assert scheme.text == "011010110"


def test_connections_and_sparsity_follow_eq_6() -> None:
    scheme = Scheme.parse("011 0101 10", blocks=BLOCKS)
    assert scheme.connections == 5
    assert scheme.sparsity == pytest.approx(1 - 5 / 9)
    assert Scheme.all_on(BLOCKS).sparsity == 0
    assert Scheme.all_off(BLOCKS).sparsity == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0110", "has 4 bits but the network needs 9, one per block (3+4+2 blocks)"),
        ("01x0", "found 'x'"),
        ("0110|101|10", "stages of 4+3+2 bits but the network needs 3+4+2"),
    ],
)
def test_wrong_text_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(EANError) as error:
        Scheme.parse(text, blocks=BLOCKS)
    assert sentence in str(error.value)


def test_immutable_and_usable_as_a_key() -> None:
    scheme = Scheme.all_on(BLOCKS)
    with pytest.raises(AttributeError):
        scheme.bits = ()  # type: ignore[misc]
    assert len({scheme, Scheme.all_on(BLOCKS), Scheme.all_off(BLOCKS)}) == 2


def test_random_is_fair_and_seeded() -> None:
    drawn = [Scheme.random((30, 24), np.random.default_rng(seed)) for seed in range(200)]
    assert drawn[0] == Scheme.random((30, 24), np.random.default_rng(0))
    share = np.mean([scheme.connections / 54 for scheme in drawn])
    assert share == pytest.approx(0.5, abs=0.02)  # four standard errors
    assert (
        np.mean(
            [s.connections / 54 for s in (Scheme.random((54,), np.random.default_rng(i), p=0.1) for i in range(99))]
        )
        < 0.2
    )


@pytest.mark.parametrize(
    ("period", "offset", "bits"), [(2, 0, "101010101"), (2, 1, "010101010"), (3, 0, "100100100"), (3, 1, "010010010")]
)
def test_periodic_is_table_4s_heuristic(period: int, offset: int, bits: str) -> None:
    assert Scheme.periodic(BLOCKS, period=period, offset=offset).text == bits


def test_periodic_refuses_an_offset_outside_the_period() -> None:
    with pytest.raises(EANError, match="0 <= offset < period"):
        Scheme.periodic(BLOCKS, period=2, offset=2)


def test_file_keeps_bits_and_provenance(tmp_path: Path) -> None:
    scheme = Scheme.parse("011 0101 10", blocks=BLOCKS)
    scheme.save(tmp_path / "scheme.json", arch="resnet29", seed=3)
    assert Scheme.load(tmp_path / "scheme.json", blocks=BLOCKS) == scheme
    record = json.loads((tmp_path / "scheme.json").read_text())
    assert record["stages"] == ["011", "0101", "10"]
    assert (record["arch"], record["seed"], record["connections"]) == ("resnet29", 3, 5)
    other = Scheme.all_on((2, 1))
    other.save(tmp_path / "other.json", **record)  # what another file says of its own bits is not provenance
    assert Scheme.load(tmp_path / "other.json") == other
    assert json.loads((tmp_path / "other.json").read_text())["connections"] == 3


def test_file_of_another_network_is_refused(tmp_path: Path) -> None:
    Scheme.all_on((3, 4, 6, 3)).save(tmp_path / "scheme.json", arch="resnet50")
    with pytest.raises(EANError, match=r"3\+4\+6\+3 blocks of resnet50, but the network has 3\+4\+2"):
        Scheme.load(tmp_path / "scheme.json", blocks=BLOCKS)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"blocks": [2], "stages": ["011"]}', '{"blocks": [3]}', '{"blocks": [1], "stages": ["2"]}'],
)
def test_damaged_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "scheme.json").write_text(content)
    with pytest.raises(EANError, match=r"scheme\.json"):
        Scheme.load(tmp_path / "scheme.json")


def test_as_scheme_takes_what_create_model_takes(tmp_path: Path) -> None:
    bits = Scheme.parse("011 0101 10", blocks=BLOCKS)
    bits.save(tmp_path / "s.json")
    for value in (bits, "011010110", "011|0101|10", bits.bits, tmp_path / "s.json", str(tmp_path / "s.json")):
        assert as_scheme(value, BLOCKS) == bits
    assert as_scheme(None, BLOCKS) == as_scheme("share-full", BLOCKS) == Scheme.all_on(BLOCKS)
    assert as_scheme("org", BLOCKS) == Scheme.all_off(BLOCKS)
    with pytest.raises(EANError, match="neither bits"):
        as_scheme("shair-full", BLOCKS)
    with pytest.raises(EANError, match="does not exist"):
        as_scheme("missing.json", BLOCKS)
    with pytest.raises(EANError, match=r"for 2\+2 blocks, but the network has 3\+4\+2"):
        as_scheme(Scheme.all_on((2, 2)), BLOCKS)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"blocks": [2, 2], "stages": ["11", "00"], "stages": ["00", "00"]}', "gives 'stages' twice"),
        ('{"blocks": [2, 2], "stages": ["11", "00"], "connections": 3}', "2 connections, but it says 3"),
        ('{"blocks": [2, 2], "stages": [11, 10]}', "stages.0 is 11, where a string was expected"),
        ('{"blocks": [true, 2], "stages": ["1", "10"]}', "blocks.0 is True"),
        ('{"blocks": [2.0, 2], "stages": ["11", "10"]}', "blocks.0 is 2.0"),
        ('{"blocks": [2, 2], "stages": ["١١", "10"]}', "not a scheme file"),
        ('{"blocks": [3, 1], "stages": ["111", "0"]}', r"a scheme for 3\+1 blocks, but the network has 2\+2 blocks"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "scheme.json").write_text(text)
    with pytest.raises(EANError, match=sentence):
        Scheme.load(tmp_path / "scheme.json", blocks=(2, 2))


def test_a_scheme_of_another_attention_is_refused(tmp_path: Path) -> None:
    Scheme.all_on(BLOCKS).save(tmp_path / "s.json", attention="own.py:Gate")
    check_attention(tmp_path / "s.json", "own.py:Gate")
    check_attention(tmp_path / "s.json", "folder/own.py:Gate")
    check_attention("org", None)
    check_attention("011010110", "se")
    with pytest.raises(EANError, match="was found for attention 'own.py:Gate', but the network has 'se'"):
        check_attention(tmp_path / "s.json", "se")
