"""Images that are in two parts of a data set: a score on what was trained on says nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from ean_core.utils.errors import EANError, legible
from ean_core.utils.files import sha256_of

PURPOSES = {"test": "to test on", "val": "to score on"}
SEEN = {"test": ("train", "val"), "val": ("train",)}
"""By which parts a part must not be known."""
MOST = 0.1  # of a part's images may be copies: a score is then a little too good, and a warning is enough
Parts = Mapping[str, Sequence[str | Path]]
Pairs = list[tuple[Path, Path]]  # (an image to score on, the same image to train on)


def check_duplicates(parts: Parts, root: Path, *, refuse: bool = True) -> list[str]:
    """Look for images to test or validate on that are trained on too.

    The same file, by its path or through a link, is refused, and so are copies, byte by byte, if they are more than a
    tenth of a part; of fewer copies there is a warning. Files of other contents, as the next frame of a film or a photo
    saved anew, are not compared. A file is read only if another one has its size.

    Args:
        parts: the files of "train" and of "val", "test" or both.
        root: that the sentence names files below, where they are.
        refuse: what cannot be scored on; False: warn of it too, for commands that train nothing.

    Returns:
        the warnings, a sentence each.

    Raises:
        EANError: if a part cannot be scored on.
    """
    files = {name: [Path(path) for path in paths] for name, paths in parts.items()}
    status = {path: path.stat() for path in dict.fromkeys(chain(*files.values()))}
    warnings = []
    for part in PURPOSES:
        if same := shared(files, part, {path: (one.st_dev, one.st_ino) for path, one in status.items()}):
            said = f"{sentence(same, files, part, root, 'are also')}: take them out of one of the two"
            if refuse:
                raise EANError(said)
            warnings.append(f"warning: {said}")
    of_size: dict[int, list[Path]] = {}
    for path, one in status.items():
        of_size.setdefault(one.st_size, []).append(path)
    content = {path: sha256_of(path) for paths in of_size.values() if len(paths) > 1 for path in paths}
    for part in PURPOSES:
        if copies := shared(files, part, content):
            said = sentence(copies, files, part, root, "are copies of")
            if refuse and len(copies) > MOST * len(files[part]):
                raise EANError(f"{said}: remove the copies from one of the two")
            warnings.append(f"warning: {said}, and a score on them is too good: remove the copies")
    return warnings


def shared(files: Mapping[str, list[Path]], part: str, key: Mapping[Path, object]) -> Pairs:
    """The images of a part whose key a part to train on has too."""
    known = {key[path]: path for other in SEEN[part] for path in files.get(other, ()) if path in key}
    return [(path, known[key[path]]) for path in files.get(part, ()) if path in key and key[path] in known]


def sentence(pairs: Pairs, files: Mapping[str, list[Path]], part: str, root: Path, are: str) -> str:
    """The start of a sentence on the images that two parts share."""
    first, same = (legible(os.path.relpath(one, root) if one.is_relative_to(root) else str(one)) for one in pairs[0])
    return (
        f"{len(pairs)} of the {len(files[part])} images {PURPOSES[part]} {are} images to train on (the first: {first} "
        f"is {same})"
    )
