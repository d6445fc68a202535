"""Counts for images and videos: a picture each, and one JSON file with all figures."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crowd_counting.model.tiles import density_of
from crowd_counting.model.training_model import CountingModel
from crowd_counting.picture import LONGEST, overlay
from ean_core.data.find_images import SUFFIXES, find_images
from ean_core.data.read_image import Picture, open_picture
from ean_core.inference.images import result_name, write_image
from ean_core.utils.errors import EANError, legible
from ean_core.utils.files import atomic_path, write_atomic
from ean_core.utils.progress import bar

MAX_PIXELS = 1 << 29  # of an image that is counted in tiles: 2 GiB while it is decoded
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Settings:
    """How to count.

    Attributes:
        tile: side in pixels of what is shown to the network at once.
        overlap: pixels around the kept middle of a tile.
        every: of a video, every so many-th frame is counted and shown.
    """

    tile: int = 1536
    overlap: int = 192
    every: int = 1


def predict(model: CountingModel, sources: Sequence[Path], out: Path, settings: Settings) -> list[dict[str, Any]]:
    """Count images, folders of images, or a video's frames, and write counts.json and the pictures to `out`.

    An image that cannot be decoded does not stop the others: its entry has "error" in place of "count".

    Returns:
        the entries of counts.json.

    Raises:
        EANError: if a source is missing or is nothing that can be counted, a video is not alone, or nothing can be.
    """
    for source in sources:
        if not source.exists():
            raise EANError(f"{source} does not exist: give an image, a folder of images or a video")
        if source.suffix.lower() in VIDEOS and len(sources) > 1:
            raise EANError(f"{source} is a video: give it alone")
        if not source.is_file() and not source.is_dir():
            raise EANError(f"{legible(str(source))} is not a regular file: give an image, a folder or a video")
        if source.is_file() and source.suffix.lower() not in (*SUFFIXES, *VIDEOS):
            raise EANError(f"{source} is no image ({', '.join(SUFFIXES)}) and no video ({', '.join(VIDEOS)})")
    if sources[0].suffix.lower() in VIDEOS:
        entries = list(count_video(model, sources[0], out, settings))
    else:
        found = find_images(sources, below=False)
        if said := found.describe():
            print(said, file=sys.stderr)
        entries = count_images(model, found.files, out, settings)
    write_atomic(out / "counts.json", json.dumps(entries, indent=1) + "\n")
    return entries


def count_images(model: CountingModel, files: list[Path], out: Path, settings: Settings) -> list[dict[str, Any]]:
    """One entry per file; one image at a time is in memory."""
    entries: list[dict[str, Any]] = []
    with bar("images", len(files)) as progress:
        for number, file in enumerate(files):
            try:
                image = open_picture(file, max_pixels=MAX_PIXELS)
            except EANError as error:
                if len(files) == 1:
                    raise
                entries.append({"image": file.name, "error": str(error)})
                continue
            entry, picture = count_one(model, image, settings)
            name = free_name(file, {other.get("picture") for other in entries})
            write_image(out / name, picture)
            entries.append({"image": file.name, **entry, "picture": name})
            if progress is not None:
                progress.update(number + 1, f"{legible(file.name)}: {entry['count']:.1f}")
    if all("error" in entry for entry in entries):
        raise EANError(f"none of the {len(files)} images can be counted; the first: {entries[0]['error']}")
    return entries


def free_name(file: Path, taken: Collection[str | None]) -> str:
    """The picture's name: a.jpg may stand beside a.png, and beside another folder's a.jpg."""
    names = (result_name(stem, "_density.png") for stem in (file.stem, file.name))
    more = (result_name(file.stem, f"_{number}_density.png") for number in itertools.count(2))
    return next(name for name in itertools.chain(names, more) if name not in taken)


def count_one(
    model: CountingModel, pixels: np.ndarray | Picture, settings: Settings, *, top: Callable[[float], float] = float
) -> tuple[dict[str, Any], np.ndarray]:
    """An image's figures, and its picture; `top` turns the map's maximum into that of the colours."""
    density, tiles = density_of(model, pixels, tile=settings.tile, overlap=settings.overlap)
    peak = float(density.max())
    small = np.asarray(pixels.reduced(LONGEST)) if isinstance(pixels, Picture) else pixels
    picture = overlay(small, density.numpy(), stride=model.counter.stride, size=pixels.shape[:2], top=top(peak))
    entry = {
        "count": float(density.double().sum()),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "tiles": tiles,
        "peak_heads_per_cell": peak,
        "cell_pixels": model.counter.stride,
    }
    return entry, picture


def count_video(model: CountingModel, source: Path, out: Path, settings: Settings) -> Iterator[dict[str, Any]]:
    """One entry per counted frame; one frame at a time is in memory. The pictures become NAME_density.mp4.

    Raises:
        EANError: if no frame can be decoded, or a path is no UTF-8, at which OpenCV would end the process.
    """
    for path in (source, out):
        if str(path) != legible(str(path)):
            raise EANError(f"the path {legible(str(path))} is not valid UTF-8, which videos need: rename it")
    video = cv2.VideoCapture(str(source))
    writer, highest, found, written = None, 0.0, 0, 0
    rate, frames = video.get(cv2.CAP_PROP_FPS) or 25.0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))

    def running(peak: float) -> float:
        """The same colours for the same density, as far as the frames so far allow."""
        nonlocal highest
        highest = max(highest, peak)
        return highest

    try:
        with atomic_path(out / f"{source.stem}_density.mp4") as temporary, bar("frames", max(frames, 1)) as progress:
            while True:
                there, frame = video.read()
                if not there:
                    break
                if found % settings.every == 0:
                    entry, picture = count_one(model, frame[..., ::-1], settings, top=running)
                    # Most players want even sides.
                    picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
                    if writer is None:
                        size = (picture.shape[1], picture.shape[0])
                        code = cv2.VideoWriter.fourcc(*"mp4v")
                        writer = cv2.VideoWriter(str(temporary), code, rate / settings.every, size)
                    writer.write(np.ascontiguousarray(picture[..., ::-1]))
                    written += 1
                    yield {"frame": found, "seconds": found / rate, **entry}
                    if progress is not None:
                        progress.update(min(found + 1, max(frames, 1)), f"{entry['count']:.1f}")
                found += 1
            if writer is None:
                raise EANError(f"no frame of the video {source} can be decoded: convert it, or give another")
            writer.release()
            check_video(temporary, out / f"{source.stem}_density.mp4", frames=written)
    finally:
        video.release()


def check_video(path: Path, name: Path, *, frames: int) -> None:
    """Make sure that a video holds what was written into it, since OpenCV says nothing of a full disk.

    Raises:
        EANError: if it does not, so that it replaces none.
    """
    video = cv2.VideoCapture(str(path))
    try:
        whole = video.isOpened() and int(video.get(cv2.CAP_PROP_FRAME_COUNT)) >= frames and video.read()[0]
    finally:
        video.release()
    if not whole:
        raise EANError(f"the video {name} could not be written whole: make room there, or give another --out-dir")
