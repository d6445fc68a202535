"""What reports and pictures call a search method; records name it as `tools/search.py --methods` takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

LABELS = {"ean": "EAN", "genetic": "GA", "enas": "ENAS", "darts": "DARTS", "hsp": "HSP"}
"""The papers' names of methods that the command line writes differently."""
LABELS |= {"org": "Org", "org-full": "Org-full", "share-full": "Share-full"}  # the networks that stand beside them

ANSWER_LABELS = {"best": "highest reward seen", "most_probable": "most probable", "smoothed": "highest smoothed reward"}
"""A label for each of `ean_core.search.ANSWERS`."""


def label_of(name: str) -> str:
    """`EAN (natural)` for `ean:natural`, `ENAS (hidden=32, memory=0)` for `enas:hidden=32:memory=0`.

    One pattern of HSP is called by its bits, as in the paper's Table 4: `HSP (1010..)` for `hsp:period=2:offset=0`.

    Args:
        name: of a method, perhaps with options; one that has no other label keeps its name.
    """
    method, *options = name.split(":")
    if method.endswith(".py") and options:  # a class of the user's own
        method = options.pop(0)
    label = LABELS.get(method, method)
    if method == "hsp" and (match := re.fullmatch(r"hsp:period=(\d+):offset=(\d+)", name)):
        period, offset = map(int, match.groups())
        bits = "".join(str(int(block % period == offset)) for block in range(2 * period))
        return f"{label} ({bits}..)"
    return f"{label} ({', '.join(options)})" if options else label


def labels_of(names: str) -> str:
    """The labels of several names with commas between them, as records have the finders of a scheme."""
    return ", ".join(map(label_of, names.split(", ")))


def full_name(method: str, options: Mapping[str, Any]) -> str:
    """`ean:natural:memory=0` for the method "ean" and the options preset and memory."""
    return ":".join([method, *(str(value) if key == "preset" else f"{key}={value}" for key, value in options.items())])
