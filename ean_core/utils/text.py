"""How tables, pictures and messages name attentions and networks, and say how many there are of something."""

from __future__ import annotations

ABBREVIATIONS = ("se", "sge", "dia")
"""Attentions that the paper writes in capitals."""


def how_many(number: int, noun: str) -> str:
    """`1 seed`, `3 seeds`, `30,000 test images`.

    Args:
        number: how many.
        noun: one of them; its plural must end in s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def attention_label(name: str | None) -> str:
    """`SE` for the paper's abbreviations, `timm:eca` and a registered `gate` as they are, and of somebody's own
    `FILE.py:CLASS` the class alone; "" for none."""
    name = name or ""
    if ":" not in name:
        return name.upper() if name in ABBREVIATIONS else name
    return name if name.startswith("timm:") else name.rpartition(":")[2]


def network_label(name: str) -> str:
    """`EAN SE` for `EAN se`, as records of times name their networks."""
    network, _, attention = name.partition(" ")
    return f"{network} {attention_label(attention)}".strip()
