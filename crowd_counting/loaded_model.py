"""A counter file for the commands of all tasks: Grad-CAM of the count, and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crowd_counting.model.pretrained import build_counter_of, statistics_of
from ean_core.inference.explain.targets import count_target
from ean_core.inference.images import Preparation
from ean_core.inference.loaded_model import LoadedModel


def load_counter(path: Path, content: dict[str, Any]) -> LoadedModel:
    """A best.pth or final.pth: photos of any size, as they are, to densities."""
    counter = build_counter_of(path, content)
    return LoadedModel(
        path=path,
        kind="counter",
        network=counter,
        trunk=counter.trunk,
        prepare=Preparation(3, *statistics_of(path, content)),
        classes=(),
        make_target=count_target,
        output="density",
        content=content,
    )
