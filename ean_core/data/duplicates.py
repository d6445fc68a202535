"""Images shared by training and held-out sets: a score on training images says nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from ean_core.utils.errors import EANError, legible
from ean_core.utils.files import sha256_of

HELD_OUT = {"test": "test images", "val": "validation images"}
MUST_DIFFER_FROM = {"test": ("train", "val"), "val": ("train",)}
MAX_COPIES = 0.1  # fraction of a split that may be copies: a few only make its score slightly too good
Splits = Mapping[str, Sequence[str | Path]]
Pairs = list[tuple[Path, Path]]  # (held-out image, the same image in a training split)


def check_duplicates(splits: Splits, root: Path, *, refuse: bool = True) -> list[str]:
    """Look for test or validation images that are also trained on.

    The same file (by path or link) in two splits is refused, and so are byte-identical copies if they make up more than
    a tenth of a split; fewer copies give a warning. Near-duplicates, such as neighboring frames of a film or a photo
    saved again, are not detected. Only files of equal size are read.

    Args:
        splits: the files of "train" and of "val", "test" or both.
        root: files below it are named relative to it.
        refuse: False: only warn, for commands that do not train.

    Returns:
        the warnings, one sentence each.

    Raises:
        EANError: if a split is not fit for scoring.
    """
    files = {name: [Path(path) for path in paths] for name, paths in splits.items()}
    status = {path: path.stat() for path in dict.fromkeys(chain(*files.values()))}
    warnings = []
    for split in HELD_OUT:
        if pairs := shared(files, split, {path: (stat.st_dev, stat.st_ino) for path, stat in status.items()}):
            message = f"{describe(pairs, files, split, root, 'are also')}: remove them from one of the two"
            if refuse:
                raise EANError(message)
            warnings.append(f"warning: {message}")
    by_size: dict[int, list[Path]] = {}
    for path, stat in status.items():
        by_size.setdefault(stat.st_size, []).append(path)
    content = {path: sha256_of(path) for paths in by_size.values() if len(paths) > 1 for path in paths}
    for split in HELD_OUT:
        if pairs := shared(files, split, content):
            message = describe(pairs, files, split, root, "are copies of")
            if refuse and len(pairs) > MAX_COPIES * len(files[split]):
                raise EANError(f"{message}: remove the copies from one of the two")
            warnings.append(f"warning: {message}, so its score will be too high: remove the copies")
    return warnings


def shared(files: Mapping[str, list[Path]], split: str, key: Mapping[Path, object]) -> Pairs:
    """Pairs of a split's images and training images with the same key."""
    trained = {key[path]: path for other in MUST_DIFFER_FROM[split] for path in files.get(other, ()) if path in key}
    return [(path, trained[key[path]]) for path in files.get(split, ()) if path in key and key[path] in trained]


def describe(pairs: Pairs, files: Mapping[str, list[Path]], split: str, root: Path, are: str) -> str:
    """The start of a sentence on the shared images of a split."""
    held_out, trained = (
        legible(os.path.relpath(path, root) if path.is_relative_to(root) else str(path)) for path in pairs[0]
    )
    return (
        f"{len(pairs)} of the {len(files[split])} {HELD_OUT[split]} {are} training images (the first: {held_out} is "
        f"{trained})"
    )
