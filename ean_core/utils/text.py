"""How tables, pictures and messages name attentions and networks, and write numbers of things."""

from __future__ import annotations

ABBREVIATIONS = ("se", "sge", "dia")
"""Attentions that the paper writes in capitals."""


def how_many(number: int, noun: str) -> str:
    """A number with its noun: "1 seed", "3 seeds", "30,000 test images".

    Args:
        number: of things.
        noun: in the singular; its plural must end in s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def attention_label(name: str | None) -> str:
    """An attention's name for readers.

    Args:
        name: as commands take it; None for no attention.

    Returns:
        capitals for the paper's abbreviations ("SE"), the class alone for a user's "FILE.py:CLASS", "" for None, and
        every other name as it is ("timm:eca").
    """
    name = name or ""
    if ":" not in name:
        return name.upper() if name in ABBREVIATIONS else name
    return name if name.startswith("timm:") else name.rpartition(":")[2]


def network_label(name: str) -> str:
    """A network's name for readers: "EAN SE" for "EAN se", as records of times have it."""
    network, _, attention = name.partition(" ")
    return f"{network} {attention_label(attention)}".strip()
