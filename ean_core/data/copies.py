"""Images that are in two parts of a data set: a score on what was trained on says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from ean_core.utils.files import sha256_of

PURPOSES = {"test": "to test on", "val": "to score on"}
SEEN = {"test": ("train", "val"), "val": ("train",)}
"""By which parts a part must not be known."""


def warn_of_copies(parts: Mapping[str, Sequence[str | Path]], root: Path) -> list[str]:
    """A sentence for images to test on, or to score on, whose very bytes are trained on too.

    Files of other contents, as the next frame of a film or a photo saved anew, are not compared. A file is read only if
    another one has its size.

    Args:
        parts: the files of "train" and of "val", "test" or both.
        root: that the sentence names files below, where they are.
    """
    of_size: dict[int, list[Path]] = {}
    for path in dict.fromkeys(map(Path, chain(*parts.values()))):
        of_size.setdefault(path.stat().st_size, []).append(path)
    content = {path: sha256_of(path) for paths in of_size.values() if len(paths) > 1 for path in paths}
    warnings = []
    for part, purpose in PURPOSES.items():
        seen = [path for other in SEEN[part] for path in map(Path, parts.get(other, ())) if path in content]
        known = {content[path]: path for path in seen}
        mine = list(map(Path, parts.get(part, ())))
        copies = [(path, known[content[path]]) for path in mine if content.get(path) in known]
        if copies:
            first, same = (one.relative_to(root) if one.is_relative_to(root) else one for one in copies[0])
            warnings.append(
                f"warning: {len(copies)} of the {len(mine)} images {purpose} are copies of images to train on (the "
                f"first: {first} is {same}), and a score on them is too good: remove the copies"
            )
    return warnings
