"""A run's claim on its directory: the same settings go on there, others are refused, and nothing is overwritten."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from ean_core.io.json_file import read_json
from ean_core.io.typed import checked
from ean_core.utils.distributed import run_on_main_process
from ean_core.utils.errors import EANError
from ean_core.utils.files import sweep, write_atomic

LOCK = ".run.lock"
WORK_DIR = "work_dir.json"
PATIENCE = 2.0
"""Seconds to wait for a lock: a killed process can hold it a moment longer than its parent sees it."""

_ANOTHER = "give another --work-dir"
_held: dict[Path, BaseFileLock] = {}  # for as long as the process lives

HARMLESS = frozenset(
    {
        "custom_imports",  # of a segmentation config: where modules are, not what they compute
        "data.workers",
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
"""What may differ between a run and its resumption: it changes no result that was recorded.

Memory format, CUDA graph and compiler are how a device runs a step. They change its result by rounding alone, as going
on on another device does.
"""

EARLIER_DEFAULTS = {"optimizer": "sgd"}
"""Fields that recipes have gained, and what runs that do not name them were trained with, if it was not off."""


@dataclass(frozen=True)
class WorkDirFile:
    """What work_dir.json says."""

    task: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class WorkDir:
    """A run's directory as a whole: what it is for, and who is at work in it.

    Attributes:
        path: of the directory.
        task: its name, as sentences say it.
        parts: what the claims of its runs name as "part"; None stands for one that names none.
        shared: whether several processes of one study work in it side by side, each on a part of its own.
        settings: what all that the directory will hold has in common, since summaries put it side by side.
        seeds: of the runs that a summary in it is made of; empty where each run stands for itself.
    """

    path: Path
    task: str
    parts: tuple[str | None, ...] = ()
    shared: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()


def claim(
    directory: Path,
    identity: Mapping[str, Any],
    *,
    resume: bool,
    begun: Sequence[Path],
    work_dir: WorkDir | None = None,
) -> None:
    """Take a directory for a run, or make sure that it holds the same run; the lock is kept until the process ends.

    To be called when everything is built and only the work itself is left, so that a mistaken setting claims nothing.
    The lock comes first, so that of two runs started at once one is refused before either has written anything.

    Args:
        directory: gets run.json.
        identity: all that the result depends on.
        resume: whether going on with what is there was asked for.
        begun: files that a run leaves behind; a claim without any of them has no work to lose, and is replaced.
        work_dir: the whole of which `directory` is a part; None for `directory` itself.

    Raises:
        EANError: if another process works there; if the directory is another task's, or holds a run and `resume` is
            false, or one that differs in a named setting.
    """
    path, now = directory / "run.json", json.loads(json.dumps(identity))

    def take() -> None:
        lock(work_dir.path if work_dir else directory, shared=bool(work_dir and work_dir.shared))
        if any(one.exists() for one in begun):
            if not resume:
                raise EANError(
                    f"{directory} holds an earlier run: give --resume to go on with it, or another --work-dir"
                )
            check_same(read_claim(path), now, what=f"{directory} cannot be resumed: it was started with")
        if work_dir:
            check_work_dir(work_dir, resume=resume)
            write_work_dir(work_dir)
        write_atomic(path, json.dumps(now, indent=2) + "\n")

    run_on_main_process(take)


# -- one run at a time ------------------------------------------------------------------------------------------------


def lock(directory: Path, *, shared: bool = False) -> None:
    """Keep all other runs out of a directory until this process ends, however it ends; sweep what a killed one left.

    A process that has the lock gets it again. The operating system takes it from a process that is gone.

    Args:
        directory: made if it is not there.
        shared: keep out only those that are not shared themselves.

    Raises:
        EANError: if another process is at work there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory = directory.resolve()
    if directory in _held and Path(_held[directory].lock_file).exists():
        return
    whole = FileLock(directory / LOCK)
    try:
        whole.acquire(timeout=PATIENCE)
    except Timeout:
        raise _in_use(directory) from None
    members = [FileLock(path) for path in directory.glob(f"{LOCK}.*")]
    free = [one for one in members if _is_free(one)]
    if len(free) == len(members):
        sweep(directory)
    elif not shared:
        whole.release()
        raise _in_use(directory)
    for one in free:
        Path(one.lock_file).unlink(missing_ok=True)
    if shared:
        mine = FileLock(directory / f"{LOCK}.{platform.node()}-{os.getpid()}")
        mine.acquire(timeout=PATIENCE)
        whole.release()
        whole = mine
    _held[directory] = whole


def _is_free(other: BaseFileLock) -> bool:
    """Whether nobody holds a lock."""
    try:
        other.acquire(timeout=0)
    except Timeout:
        return False
    other.release()
    return True


def _in_use(directory: Path) -> EANError:
    return EANError(f"another run is at work in {directory}: wait until it has ended, or give another --work-dir")


# -- one task, and one set of settings --------------------------------------------------------------------------------


def check_work_dir(work_dir: WorkDir, *, resume: bool) -> None:
    """Refuse a directory that holds something that does not go together with this run.

    Raises:
        EANError: if it is another task's, or its summary is of other settings or of seeds that would be lost.
    """
    earlier = read_work_dir(work_dir)
    if earlier.task != work_dir.task:
        raise EANError(f"{work_dir.path} holds a run of {earlier.task}, and this is one of {work_dir.task}: {_ANOTHER}")
    if work_dir.settings and earlier.settings:
        check_same(earlier.settings, work_dir.settings, what=f"{work_dir.path} holds runs with")
    known, given = set(earlier.seeds), set(work_dir.seeds)
    if known - given or (known and given - known and not resume):
        together = " ".join(map(str, sorted(known | given)))
        raise EANError(
            f"{work_dir.path} holds runs with seeds {', '.join(map(str, sorted(known)))}, which its summary is of: "
            f"give --seeds {together} --resume, or another --work-dir"
        )


def read_work_dir(work_dir: WorkDir) -> WorkDirFile:
    """What a directory says it is for; of one that does not say so, what its runs' claims say.

    Raises:
        EANError: if its file is damaged.
    """
    path, file = work_dir.path, work_dir.path / WORK_DIR
    if file.exists():
        content = read_json(file, what="claim", advice=_ANOTHER)
        return checked(WorkDirFile, content, where=f"claim {file}", advice=_ANOTHER)
    for one in sorted([*path.glob("run.json"), *path.glob("*/run.json")]):
        part = read_claim(one).get("part")
        if part not in work_dir.parts:
            return WorkDirFile("another task" if part is None else f"another task, a {part}")
    return WorkDirFile(work_dir.task)


def write_work_dir(work_dir: WorkDir) -> None:
    """Say what a directory is for, with what was said before."""
    earlier = read_work_dir(work_dir)
    content = {
        "task": work_dir.task,
        "settings": dict(work_dir.settings or earlier.settings),
        "seeds": sorted({*earlier.seeds, *work_dir.seeds}),
    }
    write_atomic(work_dir.path / WORK_DIR, json.dumps(content, indent=2) + "\n")


# -- the same run -----------------------------------------------------------------------------------------------------


def read_claim(path: Path) -> dict[str, Any]:
    """What run.json says.

    Raises:
        EANError: if it is missing or damaged.
    """
    earlier = read_json(path, what="claim", advice="give another --work-dir")
    if not isinstance(earlier, dict):
        raise EANError(f"{path} does not say what run {path.parent} holds: give another --work-dir")
    return earlier


def check_same(earlier: Mapping[str, Any], now: Mapping[str, Any], *, what: str) -> None:
    """Refuse two identities that differ.

    Raises:
        EANError: `what`, then the first setting that differs with both its values.
    """
    earlier, now = json.loads(json.dumps([earlier, now]))  # as files hold them: tuples are lists there
    if difference := first_difference(earlier, now):
        name, old, new = difference
        raise EANError(f"{what} {name} = {old!r}, and this run has {new!r}; give the same, or another --work-dir")


def first_difference(earlier: Any, now: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first setting in which two identities differ: its dotted name, and both values; None if they agree.

    A setting that the earlier one does not know, and that is off now (None, False, 0, empty) or as it always was
    (`EARLIER_DEFAULTS`), was added to the recipes since, and agrees.
    """
    if isinstance(earlier, Mapping) and isinstance(now, Mapping):
        added = [key for key in now if key not in earlier and now[key] and now[key] != EARLIER_DEFAULTS.get(key)]
        for key in [*earlier, *added]:
            dotted = f"{name}.{key}" if name else key
            found = None if dotted in HARMLESS else first_difference(earlier.get(key), now.get(key), dotted)
            if found:
                return found
        return None
    return None if earlier == now else (name, earlier, now)
