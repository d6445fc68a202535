"""Names of attentions and networks, and counted nouns, in tables, pictures and messages."""

from __future__ import annotations

ABBREVIATIONS = ("se", "sge", "dia")
"""Attentions written in capitals, as in the paper."""


def how_many(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: "1 seed", "3 seeds", "30,000 test images".

    Args:
        number: the count.
        noun: in the singular; its plural must be formed with s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def attention_label(name: str | None) -> str:
    """The display name of an attention.

    Args:
        name: as given to commands; None for no attention.

    Returns:
        "SE" for "se", only the class of a user's "FILE.py:CLASS", "" for None, and any other name unchanged
        ("timm:eca").
    """
    name = name or ""
    if ":" not in name:
        return name.upper() if name in ABBREVIATIONS else name
    return name if name.startswith("timm:") else name.rpartition(":")[2]


def network_label(name: str) -> str:
    """The display name of a network in timing records: "EAN SE" for "EAN se"."""
    network, _, attention = name.partition(" ")
    return f"{network} {attention_label(attention)}".strip()
