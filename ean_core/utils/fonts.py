"""Text in pictures: fonts that have its characters, whatever the script."""

from __future__ import annotations

import sys
from functools import lru_cache
from unicodedata import category

DEFAULT = "DejaVu Sans"  # comes with matplotlib
_warned: set[str] = set()


def drawable(text: str) -> tuple[str, list[str]]:
    """What to give matplotlib for a text: families are tried in their order for every character.

    Where no installed font has a character its code is drawn, as \\u8702, and a line on the standard error says so,
    once for each character.

    Returns:
        the text, and the names of the font families.
    """
    families, lacking = families_for(frozenset(text))
    if new := sorted(lacking - _warned):
        _warned.update(new)
        print(
            f"warning: no installed font has {' '.join(new[:12])}{' ..' if len(new) > 12 else ''}: pictures show codes "
            "in their place; install a font of this script, such as Noto Sans",
            file=sys.stderr,
        )
    shown = "".join(one.encode("unicode_escape").decode("ascii") if one in lacking else one for one in text)
    return shown, list(families)


@lru_cache(maxsize=256)
def families_for(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Font families that have the characters between them, as few as go; and the characters that none has."""
    from matplotlib import font_manager

    families = [DEFAULT]
    lacking = {one for one in characters if not one.isspace() and category(one) not in ("Cc", "Cf")}
    lacking -= characters_of(font_manager.findfont(DEFAULT))
    fonts = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist} if lacking else {}
    while lacking and fonts:
        best = max(sorted(fonts), key=lambda name: len(lacking & characters_of(fonts[name])))
        if not lacking & characters_of(fonts[best]):
            break
        lacking -= characters_of(fonts.pop(best))
        families.append(best)
    return tuple(families), frozenset(lacking)


@lru_cache(maxsize=2048)
def characters_of(file: str) -> frozenset[str]:
    """The characters that a font file has; none of one that cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (RuntimeError, OSError, ValueError):
        return frozenset()
