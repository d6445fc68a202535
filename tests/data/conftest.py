"""Tiny data sets in the real on-disk formats."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from ean_core.data import ArraySource


class _Python2Pickler(pickle._Pickler):
    """Writes strings and bytes as Python 2's `str`, as the pickles in CIFAR's archives have them."""

    dispatch: ClassVar[dict[type, Callable]] = dict(pickle._Pickler.dispatch)

    def _save_string(self, value: str | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin1")
        size = b"U" + bytes([len(raw)]) if len(raw) < 256 else b"T" + struct.pack("<i", len(raw))
        self.write(size + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_string


@pytest.fixture
def dump_python2(tmp_path: Path) -> Callable[[object, Path], None]:
    """Write an object as Python 2 with its NumPy would."""

    def dump(value: object, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            _Python2Pickler(file, protocol=2).dump(value)
        path.write_bytes(path.read_bytes().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))

    return dump


def cifar_batch(count: int, classes: int, key: str, *, seed: int) -> dict[str, object]:
    """The content of a data file: labels 0, 1, ... round and round."""
    data = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": data, key: [i % classes for i in range(count)], "batch_label": "tiny", "filenames": ["x.png"]}


@pytest.fixture
def cifar100_root(tmp_path: Path, dump_python2: Callable[[object, Path], None]) -> Path:
    """cifar-100-python with 200 training and 100 test images."""
    folder = tmp_path / "cifar-100-python"
    dump_python2(cifar_batch(200, 100, "fine_labels", seed=0), folder / "train")
    dump_python2(cifar_batch(100, 100, "fine_labels", seed=1), folder / "test")
    dump_python2({"fine_label_names": [f"class {i}" for i in range(100)]}, folder / "meta")
    return tmp_path


@pytest.fixture
def cifar10_root(tmp_path: Path, dump_python2: Callable[[object, Path], None]) -> Path:
    """cifar-10-batches-py with five batches of 20 training images and 10 test images."""
    folder = tmp_path / "cifar-10-batches-py"
    for number in range(1, 6):
        dump_python2(cifar_batch(20, 10, "labels", seed=number), folder / f"data_batch_{number}")
    dump_python2(cifar_batch(10, 10, "labels", seed=6), folder / "test_batch")
    dump_python2({"label_names": [f"class {i}" for i in range(10)]}, folder / "batches.meta")
    return tmp_path


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    """Three classes of 5 training and 2 validation images, of unlike sizes, modes and suffixes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 5), ("val", 2)):
        for name in ("cat", "ant", "bee"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (40 + 8 * number, 52, 3), dtype=np.uint8)
                image = Image.fromarray(pixels)
                if number == 1:
                    image.convert("L").save(folder / "gray.png")
                else:
                    image.save(folder / f"{number}.JPEG", format="JPEG")
    return tmp_path


@pytest.fixture
def numbered() -> ArraySource:
    """100 images of 3x8x8 whose label, 0 to 99, says which one they are."""
    images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (100, 3, 8, 8), dtype=np.uint8))
    return ArraySource(images, torch.arange(100))
