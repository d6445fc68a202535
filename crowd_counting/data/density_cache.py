"""Density maps of all training images in one HDF5 file, to render them only once.

Layout: one data set per image, named by its index, float32 (h, w), with the attribute "image"; the file's attributes
identify the data, kernel and stride. A crop of a cached map also contains mass from heads just outside the crop, which
a map rendered after cropping does not.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crowd_counting.data.points import CrowdData, CrowdImage
from crowd_counting.density import Kernel, render_density
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import atomic_path
from ean_core.utils.progress import bar

FORMAT = "ean-density-1"
USER_BLOCK = 512
"""Bytes before the HDF5 content, which HDF5 readers skip; they hold its checksum."""

REWRITE_ADVICE = "write it again with crowd_counting/prepare.py"


def write_cache(path: Path, data: CrowdData, *, kernel: str, stride: int) -> None:
    """Render the maps of all training images and write them atomically.

    Args:
        path: the .h5 file to write.
        data: data set whose training images are rendered.
        kernel: kernel as for `render_density`.
        stride: pixels per cell.
    """
    Kernel.parse(kernel)
    attributes = {
        "format": FORMAT,
        "data": data.name,
        "kernel": kernel,
        "stride": stride,
        "fingerprint": data.fingerprint(),
    }
    buffer = io.BytesIO()  # on a full disk HDF5 would crash the process
    with (
        bar("density maps", len(data.train)) as progress,
        h5py.File(buffer, "w", userblock_size=USER_BLOCK) as file,
    ):
        file.attrs.update(attributes)
        for number, image in enumerate(data.train):
            density = render_density(image.points, image.size, stride, kernel).numpy()
            file.create_dataset(str(number), data=density, compression="lzf").attrs["image"] = image.name
            if progress is not None:
                progress.update(number + 1)
    content = buffer.getvalue()[USER_BLOCK:]
    checksum = f"{FORMAT} sha256 {hashlib.sha256(content).hexdigest()}\n".encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(checksum.ljust(USER_BLOCK, b"\0") + content)


def verify_checksum(path: Path) -> None:
    """Check the file before HDF5 reads it, since corrupt bytes can crash the process.

    Files written by earlier versions have no checksum and pass.

    Raises:
        EANError: if the file has changed since it was written.
    """
    with path.open("rb") as file:
        header = file.read(USER_BLOCK)
        if not header.startswith(FORMAT.encode()):
            return
        checksum = hashlib.sha256(file.read()).hexdigest()
    if checksum.encode() not in header:
        raise EANError(f"cache {path} has changed since it was written (its checksum differs): {REWRITE_ADVICE}")


class DensityCache:
    """The density maps of a cache file, held in memory: at stride 8 one value per 64 pixels.

    Args:
        path: the cache file.
        data: data set that the maps must belong to.
        kernel, stride: settings that the maps must have been rendered with.

    Raises:
        EANError: if the file is missing, damaged, or made from other data, with another kernel or stride.
    """

    def __init__(self, path: str | Path, data: CrowdData, *, kernel: str, stride: int) -> None:
        if not Path(path).is_file():
            raise EANError(f"cache {path} does not exist: crowd_counting/prepare.py writes it")
        try:
            verify_checksum(Path(path))
            with h5py.File(path, "r") as file:
                attributes = {name: file.attrs.get(name) for name in ("format", "kernel", "stride", "fingerprint")}
                self._maps = {str(file[name].attrs["image"]): read_map(file[name]) for name in file}
        except EANError:
            raise
        except Exception as error:  # h5py raises many exception types on corrupt files
            raise EANError(f"cache {path} cannot be read ({first_line(error)}): {REWRITE_ADVICE}") from None
        required = {"format": FORMAT, "kernel": kernel, "stride": stride, "fingerprint": data.fingerprint()}
        for name, value in required.items():
            if str(attributes[name]) != str(value):
                found = " ".join(str(attributes[name]).split())
                raise EANError(f"cache {path} has {name} {found}, but this run needs {value}: {REWRITE_ADVICE}")
        check_complete(path, self._maps, data.train, stride=stride)

    def __getitem__(self, name: str) -> np.ndarray:
        """The map of the image with this name, float32 (h, w)."""
        return self._maps[name]


def read_map(dataset: Any) -> np.ndarray:
    """Read a density map, float32 (h, w).

    Raises:
        ValueError: if it has another type or number of dimensions, or a value is negative or not finite.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.float32 or dataset.ndim != 2:
        raise ValueError("it holds something other than density maps")
    density = dataset[()]
    if not np.isfinite(density).all() or (density < 0).any():
        raise ValueError("a density is negative or not finite")
    return density


def check_complete(path: str | Path, maps: dict[str, np.ndarray], images: Sequence[CrowdImage], *, stride: int) -> None:
    """Raise an `EANError` if an image has no map in the cache, or one of another size."""
    for image in images:
        if image.name not in maps:
            raise EANError(f"cache {path} has no map for {image.name}: {REWRITE_ADVICE}")
        cells = tuple(-(-side // stride) for side in image.size)
        if maps[image.name].shape != cells:
            raise EANError(
                f"cache {path} has a map of {maps[image.name].shape} cells for {image.name}, which needs {cells}: "
                f"{REWRITE_ADVICE}"
            )
