"""A color for each search method, the same in every picture."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

METHOD_COLORS = {
    "ean": "#0072B2",
    "ean:natural": "#D55E00",
    "ean:released": "#56B4E9",
    "random": "#000000",
    "genetic": "#009E73",
    "genetic:objectives=reward": "#225555",
    "enas": "#CC79A7",
    "enas:settling": "#400040",
    "darts": "#332288",
    "hsp": "#E69F00",
    "head-k": "#8B0000",
    "tail-k": "#BBBBBB",
}
"""Okabe and Ito's palette less its yellow, which is faint as a line, and five colors that color-blind readers can
tell from those at least as well as those from each other."""

SYNONYMS = {"ean:paper": "ean"}
"""Further names of a method -> the name in `METHOD_COLORS`."""

NETWORK_COLORS = dict.fromkeys(("org", "org-full", "share-full"), "#777777")
"""The networks without a searched scheme, which stand beside the methods' in Table 4."""

FURTHER_COLORS = (
    *("#999933", "#AA4499", "#44AA99", "#CC6677", "#6699CC", "#997700", "#117733"),
    *("#882255", "#DDCC77", "#7F3F00", "#8877DD", "#F0E442", "#5F6B6D", "#88AA00"),
)
"""For all others: a user's own methods, and methods with options. Too many for all readers to tell apart by color."""


def colors_of(names: Sequence[str]) -> dict[str, str]:
    """The colors of the methods in one picture.

    Args:
        names: as `--methods` takes them.

    Returns:
        name -> color. A name of `METHOD_COLORS` has that color; a method with options has the method's where no other
        name of the picture has it; any other has one of `FURTHER_COLORS` that follows from the name, or the next that
        is free.
    """
    fixed = METHOD_COLORS | NETWORK_COLORS
    colors = {name: fixed[SYNONYMS.get(name, name)] for name in names if SYNONYMS.get(name, name) in fixed}
    for name in names:
        if name not in colors:
            base = METHOD_COLORS.get(name.split(":")[0])
            start = crc32(name.encode()) % len(FURTHER_COLORS)
            candidates = [base] if base else []
            candidates += [*FURTHER_COLORS[start:], *FURTHER_COLORS[:start]]
            free = (color for color in candidates if color not in colors.values())
            colors[name] = next(free, FURTHER_COLORS[start])
    return {name: colors[name] for name in names}
