"""Whatever is read, a FIFO is refused: reading it would never end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crowd_counting.data import shanghaitech
from crowd_counting.data.points_file import load_points_file
from ean_core.data.unpickle import load_pickle
from ean_core.io.json_file import read_json
from ean_core.io.safe_load import load_tensors
from ean_core.utils.errors import EANError
from ean_core.utils.recipe_file import read_recipe_file
from segmentation.data import augmented_voc, voc

READERS: dict[str, Callable[[Path], object]] = {
    "record.json": lambda path: read_json(path, advice=""),
    "recipe.yaml": read_recipe_file,
    "points.csv": load_points_file,
    "points.mat": shanghaitech.read_mat,
    "mask.mat": augmented_voc.read_mat,
    "list.txt": voc.read_list,
    "cifar": load_pickle,
    "weights.pth": load_tensors,
    "weights.safetensors": load_tensors,
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("name", READERS)
def test_a_fifo_is_refused(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(EANError, match=f"{name} is not a regular file"):
        READERS[name](tmp_path / name)
