"""Names of attentions and networks, counted nouns and times, in tables, pictures and messages."""

from __future__ import annotations

TARGET_NAMES = {"org": "Org", "org-full": "Org-full", "share-full": "Share-full", "ean": "EAN"}
"""Labels of networks to train -> what tables and sentences call them."""
ABBREVIATIONS = ("se", "sge", "dia")
"""Attentions written in capitals, as in the paper."""


def how_many(number: int, noun: str) -> str:
    """A number with its noun in the singular or plural: "1 seed", "3 seeds", "2 processes", "30,000 test images".

    Args:
        number: the count.
        noun: in the singular; its plural must be formed with s or es.
    """
    plural = "es" if noun.endswith(("s", "x", "tch", "sh")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def clock(seconds: float) -> str:
    """A time as a clock shows it: "0:07", "2:11", "1:23:45", "3 d 01:02:03"."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour:02}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def about(seconds: float) -> str:
    """A time in a round number of its largest unit: "40 seconds", "3 minutes", "2 hours", "22 days"."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 1.5 * size:
            return how_many(round(seconds / size), unit)
    return how_many(max(1, round(seconds)), "second")


def difference_unit(unit: str, name: str) -> str:
    """The unit of a difference of two values of a metric: points for percentages, the metric's name for plain numbers.

    Args:
        unit, name: of the metric.
    """
    return "points" if unit == "%" else unit or name


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
