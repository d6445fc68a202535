"""Choose fonts for text in pictures, whatever its script."""

from __future__ import annotations

import sys
from functools import lru_cache
from unicodedata import category

from ean_core.utils.wrapping import print_wrapped

DEFAULT = "DejaVu Sans"  # comes with matplotlib
_warned: set[str] = set()


def drawable(text: str) -> tuple[str, list[str]]:
    """Choose font families for a text; matplotlib tries them in order for every char.

    A character that no installed font has is replaced by its code, such as \\u8702, with one warning on stderr per
    char.

    Returns:
        the text, and the names of the font families.
    """
    families, missing = families_for(frozenset(text))
    if unwarned := sorted(missing - _warned):
        _warned.update(unwarned)
        print_wrapped(
            f"warning: no installed font has {' '.join(unwarned[:12])}{' ..' if len(unwarned) > 12 else ''}: pictures "
            "show codes instead; install a font for the script, such as Noto Sans",
            file=sys.stderr,
        )
    shown = "".join(char.encode("unicode_escape").decode("ascii") if char in missing else char for char in text)
    return shown, list(families)


@lru_cache(maxsize=256)
def families_for(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Font families that together cover the characters, chosen greedily, and the characters that none has."""
    from matplotlib import font_manager

    families = [DEFAULT]
    missing = {char for char in characters if not char.isspace() and category(char) not in ("Cc", "Cf")}
    missing -= characters_of(font_manager.findfont(DEFAULT))
    fonts = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist} if missing else {}
    while missing and fonts:
        best = max(sorted(fonts), key=lambda name: len(missing & characters_of(fonts[name])))
        if not missing & characters_of(fonts[best]):
            break
        missing -= characters_of(fonts.pop(best))
        families.append(best)
    return tuple(families), frozenset(missing)


@lru_cache(maxsize=2048)
def characters_of(file: str) -> frozenset[str]:
    """The characters in a font file; empty if it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (RuntimeError, OSError, ValueError):
        return frozenset()
