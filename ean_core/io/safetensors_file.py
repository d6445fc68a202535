"""Network files as safetensors (https://github.com/huggingface/safetensors): tensors, and a header of plain text.

The header's "content" is the JSON of all that a .pth of this project says besides its weights, so that the network is
built from the file alone; format, arch, attention and scheme are repeated there for people who inspect the header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ean_core.io.checksum import KEY, checksum_of
from ean_core.io.json_file import parse_json
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.optional_packages import require
from ean_core.utils.shipped_files import remedy

SUFFIX = ".safetensors"


def write_safetensors(path: Path, weights: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
    """Write weights and the rest of a network file.

    Args:
        path: written in place; the caller makes it atomic.
        weights: contiguous, on the CPU.
        content: plain values: format, model, classes, mean, std, recipe, ..
    """
    require("safetensors", extra="export", what="the export to safetensors")
    from safetensors.torch import save

    model = content["model"]
    header = {name: str(model.get(name) or "none") for name in ("arch", "attention", "scheme")}
    content = {**content, KEY: checksum_of({**content, "state_dict": weights})}
    path.write_bytes(save(dict(weights), {"format": content["format"], **header, "content": json.dumps(content)}))


def is_public(path: str | Path) -> bool:
    """Whether a .safetensors file holds tensors only, without the description of a network of this project.

    False for a damaged file, which fails when it is read.
    """
    if Path(path).suffix != SUFFIX or not Path(path).is_file():
        return False
    require("safetensors", extra="export", what=f"reading {path}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return "content" not in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a file of this project; the content equals that of the network's .pth.

    Raises:
        EANError: if the file is damaged, or was not written by this project.
    """
    require("safetensors", extra="export", what=f"reading {path}")
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except Exception as error:  # on bad bytes several kinds of errors occur
        raise damaged(path, error) from None
    return {**content_of(path, header), "state_dict": weights}


def read_description(path: Path) -> dict[str, Any]:
    """The content of a file of this project without its weights, which are not read.

    Raises:
        EANError: as `read_safetensors`.
    """
    require("safetensors", extra="export", what=f"reading {path}")
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
    except Exception as error:  # on bad bytes several kinds of errors occur
        raise damaged(path, error) from None
    return content_of(path, header)


def damaged(path: Path, error: Exception) -> EANError:
    """The error for a file that cannot be read."""
    return EANError(f"{path} is damaged or truncated ({first_line(error)}): {remedy(path)}")


def content_of(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """The content in a file's header.

    Raises:
        EANError: if there is none, or it is damaged.
    """
    advice = f"give a {SUFFIX} file that tools/export.py wrote"
    if "content" not in header:
        raise EANError(f"{path} does not say which network its weights belong to: {advice}")
    content = parse_json(header["content"], where=f"the header of {path}", advice=advice)
    if not isinstance(content, dict) or not isinstance(content.get("format"), str):
        raise EANError(f"the header of {path} is damaged (it names no format): {advice}")
    return content
