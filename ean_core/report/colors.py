"""A colour for each search method, the same in every picture."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

OWN = {
    "ean": "#0072B2",
    "ean:natural": "#D55E00",
    "ean:released": "#56B4E9",
    "random": "#000000",
    "genetic": "#009E73",
    "genetic:objectives=reward": "#225555",
    "enas": "#CC79A7",
    "darts": "#332288",
    "hsp": "#E69F00",
    "head-k": "#8B0000",
    "tail-k": "#BBBBBB",
}
"""Okabe and Ito's palette less its yellow, which is faint as a line, and four colours that colour-blind readers can
tell from those at least as well as those from each other."""

SAME = {"ean:paper": "ean"}
"""Two names of one method."""

NETWORKS = dict.fromkeys(("org", "org-full", "share-full"), "#777777")
"""Networks that nothing searched, beside the methods' in Table 4."""

FURTHER = (
    *("#999933", "#AA4499", "#44AA99", "#CC6677", "#6699CC", "#997700", "#117733"),
    *("#882255", "#DDCC77", "#7F3F00", "#8877DD", "#F0E442", "#5F6B6D", "#88AA00"),
)
"""For all others: a user's own methods, and methods with options. Too many for all readers to tell apart by colour."""


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """The colours of the methods in one picture.

    Args:
        names: as `--methods` takes them.

    Returns:
        name -> colour. A name of `OWN` has that colour; a method with options has the method's where no other name of
        the picture has it; any other has one of `FURTHER` that follows from the name, or the next that is free.
    """
    known = OWN | NETWORKS
    found = {name: known[SAME.get(name, name)] for name in names if SAME.get(name, name) in known}
    for name in names:
        if name not in found:
            base = OWN.get(name.split(":")[0])
            start = crc32(name.encode()) % len(FURTHER)
            wanted = [base] if base else []
            wanted += [*FURTHER[start:], *FURTHER[:start]]
            found[name] = next((one for one in wanted if one not in found.values()), FURTHER[start])
    return {name: found[name] for name in names}
