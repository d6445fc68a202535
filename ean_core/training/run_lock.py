"""A run's claim on its directory: the same settings go on there, others are refused, and nothing is overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ean_core.utils.distributed import first_does
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import write_atomic
from ean_core.utils.process_agreement import check_agreement, check_same_files

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


def claim(directory: Path, identity: Mapping[str, Any], *, resume: bool, begun: Sequence[Path]) -> None:
    """Take a directory for a run, or make sure that it holds the same run.

    To be called when everything is built and only the work itself is left, so that a mistaken setting claims nothing.

    Args:
        directory: gets run.json.
        identity: all that the result depends on.
        resume: whether going on with what is there was asked for.
        begun: files that a run leaves behind; a claim without any of them has no work to lose, and is replaced.

    Raises:
        EANError: if the processes disagree on any of it; if it holds a run and `resume` is false, or one that differs
            in a named setting.
    """
    path, now = directory / "run.json", json.loads(json.dumps(identity))

    def take() -> None:
        if any(one.exists() for one in begun):
            if not resume:
                raise EANError(
                    f"{directory} holds an earlier run: give --resume to go on with it, or another --work-dir"
                )
            check_same(read_claim(path), now, what=f"{directory} cannot be resumed: it was started with")
        write_atomic(path, json.dumps(now, indent=2) + "\n")

    check_agreement({**now, "work directory": str(directory), "--resume": resume})
    if resume:
        check_same_files(directory)
    first_does(take)


def read_claim(path: Path) -> dict[str, Any]:
    """What run.json says.

    Raises:
        EANError: if it is missing or damaged.
    """
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EANError(f"{path} cannot be read ({first_line(error)}): give another --work-dir") from None
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
