"""Downloading a file once: to a temporary file of bounded size, then whole into the cache of torch.hub."""

from __future__ import annotations

import hashlib
import http.client
import re
import sys
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import torch
from filelock import FileLock

from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import atomic_path

MAX_BYTES = 4 << 30  # larger than any residual network's weights
TIMEOUT = 30.0  # seconds without a byte
_PIECE = 1 << 20
_ELSEWHERE = "download it elsewhere and give the file"


def is_url(source: str) -> bool:
    """Whether a source is an address, as https://host/file, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def fetch(url: str, *, name: str | None = None, sha256: str = "", max_bytes: int = MAX_BYTES) -> Path:
    """The local copy of what an http or https address holds, downloaded unless it is in the cache already.

    Args:
        url: of a file.
        name: of the file in the cache; default the address's last part behind a hash of the whole address.
        sha256: hexadecimal digits with which the file's SHA-256 must begin.
        max_bytes: a larger file is refused.

    Returns:
        a path below torch.hub's folder (the environment variable TORCH_HOME moves it).

    Raises:
        EANError: if the address is of another kind, or the file cannot be had, is too large or is not the expected one.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        raise EANError(f"{url} is no address that can be downloaded: give one that begins with https://, or a file")
    path = Path(torch.hub.get_dir()) / "checkpoints" / (name or _name_of(url))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):  # the processes of a run all ask for it
        if not path.is_file():
            if scheme == "http":
                print(
                    f"note: {url} is not encrypted, so that anyone on the way can exchange the file: prefer https",
                    file=sys.stderr,
                )
            _download(url, path, sha256=sha256, max_bytes=max_bytes)
    return path


def _name_of(url: str) -> str:
    """A file name that no other address has, and that a reader can recognize."""
    last = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rpartition("/")[2])[-80:].lstrip(".")
    return f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{last or 'weights.pth'}"


def _download(url: str, path: Path, *, sha256: str, max_bytes: int) -> None:
    """Write the file, or leave nothing."""
    try:
        answer = urllib.request.urlopen(url, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from None
    with answer, atomic_path(path) as temporary:
        if url.lower().startswith("https:") and not answer.geturl().lower().startswith("https:"):
            raise EANError(f"{url} leads to {answer.geturl()}, which is not encrypted: {_ELSEWHERE}")
        with temporary.open("wb") as file:
            digest = _copy(answer, file, url, max_bytes=max_bytes)
        if not digest.startswith(sha256):
            raise EANError(f"{url} is not the expected file (its SHA-256 begins with {digest[:8]}): {_ELSEWHERE}")


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], url: str, *, max_bytes: int) -> str:
    """Copy piece by piece; gives the SHA-256."""
    length = answer.headers.get("Content-Length") or ""
    promised, digest, count = int(length) if length.isdecimal() else -1, hashlib.sha256(), 0
    while promised <= max_bytes and count <= max_bytes and (piece := _read(answer, url)):
        file.write(piece)
        digest.update(piece)
        count += len(piece)
    if max(promised, count) > max_bytes:
        raise EANError(f"{url} is larger than {max_bytes / 2**30:.1f} GiB, and so no file of weights that fits here")
    if promised not in (-1, count):
        raise EANError(f"{url} ended after {count:,} of {promised:,} bytes: try again")
    return digest.hexdigest()


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    """The next piece; what goes wrong on the way is told from what goes wrong on the disk."""
    try:
        return answer.read(_PIECE)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> EANError:
    """The sentence for an address that gives no file."""
    reason = getattr(error, "reason", None) or error
    return EANError(f"{url} cannot be downloaded ({first_line(Exception(str(reason)))}): {_ELSEWHERE}")
