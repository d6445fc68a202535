"""A checksum of a network file's content, stored in the file itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

KEY = "sha256"
"""Key of the checksum in a file's content."""


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its checksum, which `load_tensors` verifies and removes."""
    return {**content, KEY: checksum_of(content)}


def checksum_of(content: Any) -> str:
    """Hexadecimal SHA-256 of nested dictionaries, lists, plain values and tensors.

    Tuples count as lists and keys as strings, as in JSON, so that the .pth and the .safetensors of a network agree.
    """
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Hash a value after its type and length, so that different contents never give the same bytes."""
    if isinstance(value, Mapping):
        digest.update(b"{%d" % len(value))
        for key in sorted(value, key=str):
            _add(digest, str(key))
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(b"[%d" % len(value))
        for item in value:
            _add(digest, item)
    elif isinstance(value, Tensor):
        digest.update(f"<{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    else:
        text = repr(value.item() if isinstance(value, np.generic) else value).encode("utf-8", "backslashreplace")
        digest.update(b"=%d:" % len(text))
        digest.update(text)
