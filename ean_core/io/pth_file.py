"""Write .pth files for `load_tensors`: atomically, and with a checksum."""

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
        content: the tensors must be contiguous and on the CPU.
    """
    buffer = io.BytesIO()  # written to a path, the archive would contain its name, and torch aborts on a full disk
    torch.save(with_checksum(content), buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
