"""Check before training that all processes have the same code, settings, data and state."""

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
"""Files needed to resume a run, which all processes must see."""


def check_agreement(facts: Mapping[str, Any], *, advice: str = SAME_COMMAND) -> None:
    """Stop all processes unless all have the same facts as the first one.

    All processes must call it. Without a process group it does nothing.

    Args:
        facts: JSON values; nested settings are compared one by one.
        advice: what to do about a difference.

    Raises:
        SharedError: in every process, with the first fact that differs, and both its values.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, (platform.node(), _flat(facts)))
    (first_host, first), *others = gathered
    for rank, (host, facts_of_rank) in enumerate(others, start=1):
        for name in [*first, *(name for name in facts_of_rank if name not in first)]:
            expected, actual = first.get(name, "nothing"), facts_of_rank.get(name, "nothing")
            if expected != actual:
                raise SharedError(
                    f"the processes do not agree on {name}: process 0 on {first_host} has {_short(expected)}, and "
                    f"process {rank} on {host} has {_short(actual)}: {advice}"
                )


def check_start() -> None:
    """Stop processes that joined by mistake: of different jobs on one port, or with different code.

    Raises:
        SharedError: as `check_agreement`.
    """
    job = {name: os.environ.get(name) for name in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")}
    check_agreement({"job": job, "code version": code_version(), "torch version": torch.__version__})


def check_same_files(directory: Path) -> None:
    """Stop processes that resume a run but do not see the same files.

    Raises:
        SharedError: as `check_agreement`, saying that a shared folder is needed.
    """
    files = sorted({path for name in _FILES for path in directory.rglob(name)})
    sizes = {path.relative_to(directory).as_posix(): f"{path.stat().st_size} bytes" for path in files}
    check_agreement({f"file {name} of the run": size for name, size in sizes.items()}, advice=SHARED_FOLDER)


def state_to_resume(state: Path) -> Path | None:
    """The state file to resume from; None if there is none. All processes must agree with the first.

    Raises:
        SharedError: if a process has another state, or lacks it.
    """
    exists = state.exists()
    digest = f"one with SHA-256 {sha256_of(state)[:12]}" if exists else "nothing"
    check_agreement({f"the state {state.name} to continue from": digest}, advice=SHARED_FOLDER)
    return state if exists else None


def code_version() -> str:
    """A digest of the packages' source files on this machine."""
    root, digest = Path(__file__).resolve().parents[2], sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted names."""
    if isinstance(value, Mapping):
        pairs: Any = value.items()
    elif (
        isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(item, Mapping) for item in value)
    ):
        pairs = enumerate(value)
    else:
        return {name: list(value) if isinstance(value, tuple) else value}
    flat: dict[str, Any] = {}
    for key, item in pairs:
        flat.update(_flat(item, f"{name}.{key}" if name else str(key)))
    return flat


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
