"""Density maps of a data set's training images in one HDF5 file, for those who would rather render once.

Layout: a data set per image, named by its position, float32 (h, w), with the attribute "image"; the file's attributes
say what the maps are of. Crops of cached maps hold the mass that heads beyond their border spread into them, which
maps rendered after the crop do not.
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
"""Bytes in front of the HDF5 part, which its readers skip: they hold its checksum."""

AGAIN = "write it again with prepare.py"


def write_cache(path: Path, data: CrowdData, *, kernel: str, stride: int) -> None:
    """Render the maps of all training images and write them, atomically.

    Args:
        path: an .h5 file.
        data: whose training images.
        kernel: as for `render_density`.
        stride: pixels per cell.
    """
    Kernel.parse(kernel)
    about = {"format": FORMAT, "data": data.name, "kernel": kernel, "stride": stride, "fingerprint": data.fingerprint()}
    buffer = io.BytesIO()  # on a full disk HDF5 ends the process
    with (
        bar("density maps", len(data.train)) as progress,
        h5py.File(buffer, "w", userblock_size=USER_BLOCK) as file,
    ):
        file.attrs.update(about)
        for number, image in enumerate(data.train):
            density = render_density(image.points, image.size, stride, kernel).numpy()
            file.create_dataset(str(number), data=density, compression="lzf").attrs["image"] = image.name
            if progress is not None:
                progress.update(number + 1)
    content = buffer.getvalue()[USER_BLOCK:]
    checksum = f"{FORMAT} sha256 {hashlib.sha256(content).hexdigest()}\n".encode()
    with atomic_path(path) as temporary:
        temporary.write_bytes(checksum.ljust(USER_BLOCK, b"\0") + content)


def check_sum(path: Path) -> None:
    """Refuse a file that has changed since it was written, before HDF5 reads it: it can end the process on bad bytes.

    Files of earlier versions have no checksum.

    Raises:
        EANError: if the checksum in front of the HDF5 part differs.
    """
    with path.open("rb") as file:
        said = file.read(USER_BLOCK)
        if not said.startswith(FORMAT.encode()):
            return
        found = hashlib.sha256(file.read()).hexdigest()
    if found.encode() not in said:
        raise EANError(f"cache {path} has changed since it was written (its checksum differs): {AGAIN}")


class DensityCache:
    """The maps of a cache file, read into memory: a sixty-fourth of the images' pixels at stride 8.

    Args:
        path: of the file.
        data: that the maps must be of.
        kernel, stride: that they must have been rendered with.

    Raises:
        EANError: if the file is missing, damaged, or of other data, another kernel or another stride.
    """

    def __init__(self, path: str | Path, data: CrowdData, *, kernel: str, stride: int) -> None:
        if not Path(path).is_file():
            raise EANError(f"cache {path} does not exist: crowd_counting/prepare.py writes one")
        try:
            check_sum(Path(path))
            with h5py.File(path, "r") as file:
                found = {name: file.attrs.get(name) for name in ("format", "kernel", "stride", "fingerprint")}
                self._maps = {str(file[name].attrs["image"]): read_map(file[name]) for name in file}
        except EANError:
            raise
        except Exception as error:  # h5py raises many kinds on bad bytes
            raise EANError(f"cache {path} cannot be read ({first_line(error)}): {AGAIN}") from None
        wanted = {"format": FORMAT, "kernel": kernel, "stride": stride, "fingerprint": data.fingerprint()}
        for name, value in wanted.items():
            if str(found[name]) != str(value):
                raise EANError(
                    f"cache {path} has {name} {found[name]}, and this run needs {value}: write it again with prepare.py"
                )
        check_complete(path, self._maps, data.train)

    def __getitem__(self, name: str) -> np.ndarray:
        """The map of the image of this name, float32 (h, w)."""
        return self._maps[name]


def read_map(dataset: Any) -> np.ndarray:
    """A density map, float32 (h, w).

    Raises:
        ValueError: if it is anything else, or holds what is no number.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.float32 or dataset.ndim != 2:
        raise ValueError("it holds something else than density maps")
    density = dataset[()]
    if not np.isfinite(density).all():
        raise ValueError("a density in it is not finite")
    return density


def check_complete(path: str | Path, maps: dict[str, np.ndarray], images: Sequence[CrowdImage]) -> None:
    """Refuse a cache that lacks an image."""
    for image in images:
        if image.name not in maps:
            raise EANError(f"cache {path} has no map of {image.name}: write it again with prepare.py")
