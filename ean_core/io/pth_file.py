"""Writing .pth files that `load_tensors` reads: whole or not at all, with a checksum of what is in them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ean_core.io.checksum import with_checksum
from ean_core.utils.files import atomic_path


def write_pth(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values, replacing the file atomically.

    Args:
        path: a .pth file.
        content: tensors are contiguous and on the CPU.
    """
    buffer = io.BytesIO()  # a file would hold its own name, and torch aborts on a full disk
    torch.save(with_checksum(content), buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
