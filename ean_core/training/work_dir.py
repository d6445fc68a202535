"""Lock a run's work directory, and refuse runs with other settings, so that nothing is overwritten."""

from __future__ import annotations

import errno
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from ean_core.io.json_file import read_json
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.distributed import run_on_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.files import sweep, write_atomic
from ean_core.utils.process_agreement import check_agreement, check_same_files

LOCK = ".run.lock"
WORK_DIR = "work_dir.json"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP)
PATIENCE = 2.0
"""Seconds to wait for a lock, since a killed process may hold it for a moment."""

_ANOTHER = "give another --work-dir"
_held: dict[Path, tuple[BaseFileLock, tuple[int, int] | None]] = {}  # locks and their files, while the process lives

HARMLESS = frozenset(
    {
        "custom_imports",  # of a segmentation config: locations of modules and of data, whose content is compared
        *("env_cfg", "model_wrapper_cfg"),  # which follow from the device
        *(f"{part}_dataloader.dataset.data_root" for part in ("train", "val", "test")),
        "data.workers",
        "supernet.validate_every",
        "search.steps",
        "search.max_evaluations",
        "search.returned",
        "search.batch_size",
        *(
            f"{part}.{name}"
            for part in ("supernet", "train")
            for name in ("val_interval", "save_interval", "random_paths", "channels_last", "cuda_graph", "compile")
        ),
    }
)
"""Settings that may differ when a run is resumed, because they do not affect recorded results.

Memory format, CUDA graph and compiler affect results only by rounding, as does resuming on another device.
"""

UNRECORDED = ("model",)
"""Settings common to the runs of a directory that earlier versions did not record."""

EARLIER_DEFAULTS = {"optimizer": "sgd", "trunk_lr_factor": 1.0, "unconnected": "identity"}
"""Fields added to recipes later -> the value that earlier runs used, if it was not off."""


LATER = frozenset({"content"})
"""Settings that describe the data more closely than earlier versions did; a run without them goes on."""


@dataclass(frozen=True)
class WorkDirFile:
    """Content of work_dir.json: the task, and the settings common to its runs."""

    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkDir:
    """A work directory, which may hold several runs.

    Attributes:
        path: of the directory.
        task: its name in messages.
        parts: allowed values of "part" in its runs' claims; None for a claim without it.
        shared: whether several processes of one study work in it at the same time, each on its own part.
        settings: common to all runs in it, since summaries compare them.
    """

    path: Path
    task: str
    parts: tuple[str | None, ...] = ()
    shared: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def claim(
    directory: Path,
    identity: Mapping[str, Any],
    *,
    resume: bool,
    begun: Sequence[Path],
    work_dir: WorkDir | None = None,
) -> None:
    """Claim a directory for a run, or verify that it holds the same run; the lock is held until the process ends.

    Call it when everything is built and only the work is left, so that a run with a wrong setting claims nothing. The
    lock is taken first, so that of two runs started at once one is refused before either writes anything.

    Args:
        directory: where run.json is written.
        identity: everything that the result depends on.
        resume: whether to continue an existing run.
        begun: files that a started run leaves; a claim without any of them is replaced.
        work_dir: the work directory that `directory` belongs to; None for `directory` itself.

    Raises:
        EANError: if the processes disagree; if another run works there; if the directory belongs to another task, holds
            a run and `resume` is false, or holds a run with other settings.
    """
    path, now = directory / "run.json", json.loads(json.dumps(identity))

    def take() -> None:
        lock(work_dir.path if work_dir else directory, shared=bool(work_dir and work_dir.shared))
        if any(path.exists() for path in begun):
            if not resume:
                raise EANError(f"{directory} holds an earlier run: give --resume to continue it, or another --work-dir")
            check_same(read_claim(path), now, what=f"{directory} cannot be resumed: it was started with")
        if work_dir:
            check_work_dir(work_dir)
            write_work_dir(work_dir)
        write_atomic(path, json.dumps(now, indent=2) + "\n")

    check_agreement({**now, "work directory": str(directory), "--resume": resume})
    if resume:
        check_same_files(directory)
    run_on_main_process(take)


# -- one run at a time ------------------------------------------------------------------------------------------------


def lock(directory: Path, *, shared: bool = False) -> None:
    """Lock a directory until this process ends, and remove leftovers of killed processes.

    A process can take its own lock again. The operating system releases the lock of a process that has ended.

    Args:
        directory: created if missing.
        shared: allow other processes that lock it as shared.

    Raises:
        EANError: if another process works there, or the file system has no locks.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    if is_held(directory):
        return
    file_lock = FileLock(directory / LOCK)
    try:
        file_lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise _in_use(directory) from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise EANError(
            f"the file system of {directory} has no locks, which keep two runs apart: mount it with them (Lustre: "
            "-o flock), or give a --work-dir on another disk"
        ) from None
    members = [FileLock(member) for member in directory.glob(f"{LOCK}.*")]
    free = [member for member in members if _is_free(member)]
    if len(free) == len(members):
        sweep(directory)
    elif not shared:
        file_lock.release()
        raise _in_use(directory)
    for member in free:
        Path(member.lock_file).unlink(missing_ok=True)
    if shared:
        own_lock = FileLock(directory / f"{LOCK}.{platform.node()}-{os.getpid()}")
        own_lock.acquire(timeout=PATIENCE)
        file_lock.release()
        file_lock = own_lock
    _held[directory] = file_lock, file_identity(file_lock)


def is_held(directory: Path) -> bool:
    """Whether this process holds a directory's lock, and the file is still the one that it locked."""
    file_lock, identity = _held.get(directory, (None, None))
    return file_lock is not None and identity is not None and identity == file_identity(file_lock)


def check_held(path: Path) -> None:
    """Make sure that the locked directories of a file were not removed meanwhile, perhaps for another such run.

    Args:
        path: about to be written.

    Raises:
        EANError: naming the directory.
    """
    for directory in path.resolve().parents:
        if directory in _held and not is_held(directory):
            raise EANError(
                f"{directory} was removed or replaced while this run was working in it, so nothing more is written: "
                "start it again"
            )


def file_identity(file_lock: BaseFileLock) -> tuple[int, int] | None:
    """(device, inode) of a lock's file; None if it is gone."""
    try:
        status = os.stat(file_lock.lock_file)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _is_free(file_lock: BaseFileLock) -> bool:
    """Whether no process holds a lock."""
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        return False
    file_lock.release()
    return True


def _in_use(directory: Path) -> EANError:
    return EANError(f"another run is using {directory}: wait until it ends, or give another --work-dir")


# -- one task, and one set of settings --------------------------------------------------------------------------------


def check_work_dir(work_dir: WorkDir) -> None:
    """Refuse a directory whose content does not match this run.

    Raises:
        EANError: if it belongs to another task, or its runs have other settings.
    """
    earlier = read_work_dir(work_dir)
    if earlier.task != work_dir.task:
        raise EANError(f"{work_dir.path} holds a run of {earlier.task}, not of {work_dir.task}: {_ANOTHER}")
    if work_dir.settings and earlier.settings:
        unrecorded = [name for name in UNRECORDED if name not in earlier.settings]
        now = {name: value for name, value in work_dir.settings.items() if name not in unrecorded}
        check_same(earlier.settings, now, what=f"{work_dir.path} holds runs with")


def read_work_dir(work_dir: WorkDir) -> WorkDirFile:
    """Read work_dir.json; if it is missing, derive the task from the claims of the runs.

    Raises:
        EANError: if the file is damaged.
    """
    path, file = work_dir.path, work_dir.path / WORK_DIR
    if file.exists():
        content = read_json(file, what="claim", advice=_ANOTHER)
        return checked(WorkDirFile, content, where=f"claim {file}", advice=_ANOTHER)
    for claim_file in sorted([*path.glob("run.json"), *path.glob("*/run.json")]):
        part = read_claim(claim_file).get("part")
        if part not in work_dir.parts:
            return WorkDirFile("another task" if part is None else f"another task, a {part}")
    return WorkDirFile(work_dir.task)


def write_work_dir(work_dir: WorkDir) -> None:
    """Write work_dir.json, keeping earlier settings."""
    settings = dict(work_dir.settings or read_work_dir(work_dir).settings)
    content = {"task": work_dir.task, "settings": settings}
    write_atomic(work_dir.path / WORK_DIR, json.dumps(content, indent=2) + "\n")


# -- the same run -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimFile:
    """The fields of a run.json that are read by name; all others are only compared."""

    part: str | None = None
    search: Mapping[str, Any] = field(default_factory=dict)


def read_claim(path: Path) -> dict[str, Any]:
    """Read run.json, the identity of a run.

    Raises:
        EANError: if it is missing or damaged.
    """
    earlier = read_json(path, what="claim", advice=_ANOTHER)
    checked(ClaimFile, earlier, where=f"claim {path}", advice=_ANOTHER)
    return earlier


def check_same(earlier: Mapping[str, Any], now: Mapping[str, Any], *, what: str) -> None:
    """Make sure that two identities are equal.

    Raises:
        EANError: `what`, followed by the first setting that differs and both values.
    """
    earlier, now = json.loads(json.dumps([earlier, now], default=repr))  # as in files, where tuples are lists
    if difference := first_difference(earlier, now):
        name, before, after = difference
        raise EANError(f"{what} {name} = {before!r}, and this run has {after!r}; give the same, or another --work-dir")


def first_difference(earlier: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first setting that differs: its dotted name and both values; None if they are equal.

    A setting missing from the earlier identity was added to recipes later. It counts as equal if it is off now (None,
    False, 0, empty), has its earlier default (`EARLIER_DEFAULTS`), or is one of `LATER`.
    """
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        new = [key for key in now if key not in earlier and key not in LATER]
        added = [key for key in new if now[key] and now[key] != EARLIER_DEFAULTS.get(key)]
        for key in [*earlier, *added]:
            dotted = f"{name}.{key}" if name else key
            difference = None if dotted in HARMLESS else first_difference(earlier.get(key), now.get(key), dotted)
            if difference:
                return difference
        return None
    return None if earlier == now else (name, earlier, now)
