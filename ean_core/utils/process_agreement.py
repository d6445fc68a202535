"""Several processes make sure that they are one run: the same code, settings, data and state, before they train."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ean_core.utils.errors import SharedError
from ean_core.utils.files import sha256_of

PACKAGES = ("ean_core", "classification", "crowd_counting", "segmentation")
SHARED_FOLDER = (
    "processes on several machines need one shared folder for --work-dir (NFS, Lustre, ..): give one that all of them "
    "see, or copy the first one's files"
)
SAME_COMMAND = (
    "start all processes with the same command, code and data, and each run with a port (MASTER_PORT) of its own"
)
_FILES = ("run.json", "last.pth", "supernet.pth", "scheme.json", "history.jsonl", "result.json", "*.pth")
"""What a run goes on from, so that all processes must see the same of it."""


def check_agreement(facts: Mapping[str, Any], *, advice: str = SAME_COMMAND) -> None:
    """Stop all processes unless each of them has the same facts; the first one's are those that count.

    All processes have to call it. Without a process group there is nothing to compare.

    Args:
        facts: JSON values; nested settings are compared one by one.
        advice: what to do about a difference.

    Raises:
        SharedError: in every process, with the first fact that differs, and both its values.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, (platform.node(), _flat(facts)))
    (first_host, first), *others = everyone
    for rank, (host, theirs) in enumerate(others, start=1):
        for name in [*first, *(name for name in theirs if name not in first)]:
            mine, other = first.get(name, "nothing"), theirs.get(name, "nothing")
            if mine != other:
                raise SharedError(
                    f"the processes do not agree on {name}: process 0 on {first_host} has {_short(mine)}, and process "
                    f"{rank} on {host} has {_short(other)}: {advice}"
                )


def check_start() -> None:
    """Stop processes that met by mistake: of two jobs on one port, or with other code.

    Raises:
        SharedError: as `check_agreement`.
    """
    job = {name: os.environ.get(name) for name in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")}
    check_agreement({"job": job, "code version": code_version(), "torch version": torch.__version__})


def check_same_files(directory: Path) -> None:
    """Stop processes that are to go on with a run of which they do not see the same files.

    Raises:
        SharedError: as `check_agreement`, saying that a shared folder is needed.
    """
    found = sorted({path for name in _FILES for path in directory.rglob(name)})
    sizes = {path.relative_to(directory).as_posix(): f"{path.stat().st_size} bytes" for path in found}
    check_agreement({f"file {name} of the run": size for name, size in sizes.items()}, advice=SHARED_FOLDER)


def state_to_resume(state: Path) -> Path | None:
    """The state file to go on from, None if there is none: the first process decides, and all must have what it has.

    Raises:
        SharedError: if a process has another state, or lacks it.
    """
    found = state.exists()
    digest = f"one with SHA-256 {sha256_of(state)[:12]}" if found else "nothing"
    check_agreement({f"the state {state.name} to go on from": digest}, advice=SHARED_FOLDER)
    return state if found else None


def code_version() -> str:
    """A digest of all source files of the packages, as they lie on this machine."""
    root, digest = Path(__file__).resolve().parents[2], sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested settings as dotted names and plain values."""
    if isinstance(value, Mapping):
        pairs: Any = value.items()
    elif isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value):
        pairs = enumerate(value)
    else:
        return {name: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for key, one in pairs:
        flat.update(_flat(one, f"{name}.{key}" if name else str(key)))
    return flat


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
