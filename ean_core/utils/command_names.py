"""How messages and help texts spell the commands: as scripts in a checkout, as `ean VERB` where that was typed.

All texts spell them as scripts, such as `python tools/search.py`. The command `ean` says once how it spells those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_verbs: dict[str, str] = {}
_package = ""


def spell_as_verbs(verbs: Mapping[str, str], *, package: str) -> None:
    """From now on, spell the commands as verbs.

    Args:
        verbs: script -> verb, such as "tools/search.py" -> "ean search".
        package: runs a verb as `python -m PACKAGE VERB`, which a launcher such as torchrun needs.
    """
    global _package
    _verbs.update(verbs)
    _package = package


def spelled(text: str) -> str:
    """A text with its commands spelled as in the command that is running."""
    if not _verbs:
        return text
    scripts = "|".join(map(re.escape, _verbs))
    return re.sub(rf"(torchrun (?:--\S+ \d+ )*)?(?:python )?(?<![\w./-])({scripts})(?!\w)", _verb, text)


def _verb(match: re.Match[str]) -> str:
    launcher, verb = match[1] or "", _verbs[match[2]]
    return f"{launcher}-m {_package} {verb.removeprefix('ean ')}" if launcher else verb
