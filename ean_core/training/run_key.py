"""A short key of a run's settings, written into its files, so that a file of another run is not taken for its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from ean_core.training.work_dir import EARLIER_DEFAULTS, HARMLESS, LATER, read_claim
from ean_core.utils.errors import EANError


def run_key(identity: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that change with the settings that affect a run's results.

    Settings that are off do not count, so that the key stays the same when later versions add some.

    Args:
        identity: as `ean_core.training.work_dir.claim` takes it.
    """
    return sha256(json.dumps(_relevant(identity), sort_keys=True).encode()).hexdigest()[:12]


def key_of(directory: Path) -> str | None:
    """The key of the run that claimed a directory; None if none did."""
    path = directory / "run.json"
    return run_key(read_claim(path)) if path.exists() else None


def check_keys(keys: Iterable[str | None], expected: str | None, *, file: Path) -> None:
    """Refuse a file of another run.

    Args:
        keys: in the file; None where it has none, as in files of earlier versions.
        expected: the run's; None if it is not known.
        file: for the error.

    Raises:
        EANError: if one of the keys is another run's.
    """
    other = next((key for key in keys if key is not None and key != expected), None)
    if other is not None and expected is not None:
        raise EANError(
            f"{file} was written by a run with other settings (key {other}, and {expected} here), so nothing in it is "
            "used: move it away, or put the right file there"
        )


def _relevant(value: Any, name: str = "") -> Any:
    """Nested settings without those that are off or do not affect results; 1 and 1.0 are the same."""
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e300 else str(value)
    if isinstance(value, list | tuple):
        return [_relevant(item, name) for item in value]
    if not isinstance(value, Mapping):
        return value if value is None or isinstance(value, str) else repr(value)
    kept = {}
    for key, item in value.items():
        dotted = f"{name}.{key}" if name else str(key)
        part = None if dotted in HARMLESS or key in LATER else _relevant(item, dotted)
        if part and part != EARLIER_DEFAULTS.get(key):
            kept[str(key)] = part
    return kept
