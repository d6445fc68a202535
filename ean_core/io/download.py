"""Download a file once, with bounded size, into the cache of torch.hub."""

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

from ean_core.utils.errors import EANError, first_line, legible
from ean_core.utils.files import atomic_path
from ean_core.utils.wrapping import print_wrapped

MAX_BYTES = 4 << 30  # larger than any residual network's weights
TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 1 << 20
_ELSEWHERE = "download it yourself and give the file"


def is_url(source: str) -> bool:
    """Whether a source is a URL, such as https://host/file, rather than a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def fetch(url: str, *, name: str | None = None, sha256: str = "", max_bytes: int = MAX_BYTES) -> Path:
    """Return the local copy of an http or https URL, downloading it unless it is cached.

    Args:
        url: of the file.
        name: of the cached file; default: a hash of the URL and its last part.
        sha256: hexadecimal digits that the file's SHA-256 must begin with.
        max_bytes: larger files are refused.

    Returns:
        a path below torch.hub's folder (which TORCH_HOME sets).

    Raises:
        EANError: for another kind of URL, or if the file cannot be downloaded, is too large or has another checksum.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme not in ("http", "https"):
        raise EANError(f"{url} cannot be downloaded: give a URL that begins with https://, or a file")
    path = Path(torch.hub.get_dir()) / "checkpoints" / (name or _name_of(url))
    if path.is_file():  # complete; its folder may be read-only
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):  # all processes of a run request it
        if not path.is_file():
            if scheme == "http":
                print_wrapped(
                    f"note: {legible(url)} is not encrypted, so the file may be tampered with on the way: prefer https",
                    file=sys.stderr,
                )
            _download(url, path, sha256=sha256, max_bytes=max_bytes)
    return path


def _name_of(url: str) -> str:
    """A readable file name that is unique to the URL."""
    last = re.sub(r"[^\w.-]", "_", unquote(urlsplit(url).path).rpartition("/")[2])[-80:].lstrip(".")
    return f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{last or 'weights.pth'}"


def _download(url: str, path: Path, *, sha256: str, max_bytes: int) -> None:
    """Download to a temporary file and move it to `path` once complete and verified."""
    try:
        response = urllib.request.urlopen(url, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _unreachable(url, error) from None
    with response, atomic_path(path) as temporary:
        if url.lower().startswith("https:") and not response.geturl().lower().startswith("https:"):
            raise EANError(f"{url} redirects to {response.geturl()}, which is not encrypted: {_ELSEWHERE}")
        with temporary.open("wb") as file:
            digest = _copy(response, file, url, max_bytes=max_bytes)
        if not digest.startswith(sha256):
            raise EANError(f"{url} is not the expected file (its SHA-256 begins with {digest[:8]}): {_ELSEWHERE}")


def _copy(response: http.client.HTTPResponse, file: IO[bytes], url: str, *, max_bytes: int) -> str:
    """Copy in chunks, enforcing the limit and the announced length; returns the SHA-256."""
    length = response.headers.get("Content-Length") or ""
    expected, digest, count = int(length) if length.isdecimal() else -1, hashlib.sha256(), 0
    while expected <= max_bytes and count <= max_bytes and (chunk := _read(response, url)):
        file.write(chunk)
        digest.update(chunk)
        count += len(chunk)
    if max(expected, count) > max_bytes:
        raise EANError(f"{url} is larger than {max_bytes / 2**30:.1f} GiB, too large for a file of weights")
    if expected not in (-1, count):
        raise EANError(f"{url} ended after {count:,} of {expected:,} bytes: try again")
    return digest.hexdigest()


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    """Read the next chunk; network errors become `EANError`, unlike errors of the disk."""
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from None


def _unreachable(url: str, error: Exception) -> EANError:
    """The error for a URL that cannot be downloaded."""
    reason = getattr(error, "reason", None) or error
    return EANError(f"{url} cannot be downloaded ({first_line(Exception(str(reason)))}): {_ELSEWHERE}")
