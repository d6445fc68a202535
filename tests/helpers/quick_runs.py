"""What whole runs spend time on and most tests of them do not look at: pictures, and precise times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

SAVEFIG = Figure.savefig
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005"
    "fe02fe0def46b80000000049454e44ae426082"
)
"""One white pixel."""


def save_blank(_: Any, target: Any, **options: Any) -> None:
    """In place of `Figure.savefig`: one pixel."""
    if isinstance(target, str | Path):
        Path(target).write_bytes(PNG)
    else:
        target.write(PNG)


@pytest.fixture(scope="module", autouse=True)
def quick_runs() -> Iterator[None]:
    """Networks of a run are timed for two rounds, and its pictures are blank; a test of pictures asks for `drawn`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ean_core.pipeline.summary.TIMING", {"batch_size": 1, "rounds": 2, "setting": "eager float32"})
        patch.setattr(Figure, "savefig", save_blank)
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn in this test."""
    monkeypatch.setattr(Figure, "savefig", SAVEFIG)
