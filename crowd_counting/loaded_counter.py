"""Load a counter file for the commands that work on any task: Grad-CAM, export and predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crowd_counting.model.counter_file import counter_from_content, normalization_of
from crowd_counting.predictor import CountPredictor
from ean_core.inference.explain.targets import count_target
from ean_core.inference.images import Preparation
from ean_core.inference.loaded_model import LoadedModel


def load_counter(path: Path, content: dict[str, Any]) -> LoadedModel:
    """Load a best.pth or final.pth as a network from images of any size to densities."""
    counter = counter_from_content(path, content)
    return LoadedModel(
        path=path,
        kind="counter",
        network=counter,
        trunk=counter.trunk,
        prepare=Preparation(3, *normalization_of(path, content)),
        classes=(),
        make_target=count_target,
        output="density",
        content=content,
        make_predictor=CountPredictor,
    )
