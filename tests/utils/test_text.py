"""How attentions, networks and numbers are written."""

from __future__ import annotations

from ean_core.utils.text import about, attention_label, clock, how_many, network_label


def test_names_of_attention() -> None:
    names = {"se": "SE", "dia": "DIA", "timm:eca": "timm:eca", "contrast.py:Contrast": "Contrast", "pack.mod:A": "A"}
    names |= {"gate": "gate", None: ""}  # one's own, registered under a name
    assert {name: attention_label(name) for name in names} == names


def test_names_of_networks() -> None:
    names = {"Org": "Org", "EAN sge": "EAN SGE", "Org-full gate": "Org-full gate", "EAN-SE": "EAN-SE"}
    assert {name: network_label(name) for name in names} == names


def test_numbers_of_things() -> None:
    assert [how_many(number, "seed") for number in (0, 1, 3)] == ["0 seeds", "1 seed", "3 seeds"]
    assert how_many(10000, "test image") == "10,000 test images"


def test_times() -> None:
    assert [clock(seconds) for seconds in (7, 131, 5025, 262923)] == ["0:07", "2:11", "1:23:45", "3 d 01:02:03"]
    said = ["1 second", "40 seconds", "3 minutes", "2 hours", "22 days"]
    assert [about(seconds) for seconds in (0.2, 40, 170, 7000, 22 * 86400)] == said


def test_plurals() -> None:
    assert [how_many(2, noun) for noun in ("process", "epoch", "batch", "step")] == [
        "2 processes",
        "2 epochs",
        "2 batches",
        "2 steps",
    ]
