"""Count people in images and videos: one picture each, and one JSON file with all results."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from crowd_counting.density_overlay import LONGEST, overlay
from crowd_counting.model.tiles import predict_density
from crowd_counting.model.training_model import CountingModel
from ean_core.data.find_images import SUFFIXES, find_images
from ean_core.data.read_image import Picture, open_picture
from ean_core.inference.count_errors import CountErrors
from ean_core.inference.images import result_name, write_image
from ean_core.io.made_from import Inputs, digest_of, digest_of_files
from ean_core.utils.errors import EANError, legible
from ean_core.utils.files import atomic_path, write_atomic
from ean_core.utils.progress import bar
from ean_core.utils.wrapping import print_wrapped

MAX_PIXELS = 1 << 29  # largest image, counted in tiles: 2 GiB while it is decoded
COUNTS = "counts.json"
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Settings:
    """Options of counting.

    Attributes:
        tile: side in pixels of the tiles that the network sees.
        overlap: pixels around the kept center of a tile.
        every: count and show every n-th frame of a video.
        annotated: resolved path of an image -> its true number of people, for those that have annotations.
        errors: of the counter on test photos, for those that come with the project.
    """

    tile: int = 1536
    overlap: int = 192
    every: int = 1
    annotated: Mapping[Path, int] = field(default_factory=dict)
    errors: CountErrors | None = None


def predict(model: CountingModel, sources: Sequence[Path], out: Path, settings: Settings) -> list[dict[str, Any]]:
    """Count images, folders of images, or a video's frames, and write counts.json and the pictures to `out`.

    An image that cannot be decoded does not stop the others: its entry has "error" instead of "count".

    Returns:
        the entries of counts.json.

    Raises:
        EANError: as `find_sources`, or if nothing can be counted.
    """
    files = find_sources(sources)
    video = files[0].suffix.lower() in VIDEOS
    entries = list(count_video(model, files[0], out, settings)) if video else count_images(model, files, out, settings)
    write_atomic(out / COUNTS, json.dumps(entries, indent=1) + "\n")
    return entries


def find_sources(sources: Sequence[Path]) -> list[Path]:
    """The images in files and folders, or the one video; says on stderr which files are passed over.

    Raises:
        EANError: if a source is missing or of an unsupported kind, or a video comes with other sources.
    """
    for source in sources:
        if not source.exists():
            raise EANError(f"{source} does not exist: give an image, a folder of images or a video")
        if source.suffix.lower() in VIDEOS and len(sources) > 1:
            raise EANError(f"{source} is a video: give it as the only source")
        if not source.is_file() and not source.is_dir():
            raise EANError(f"{source} is not a regular file: give an image, a folder of images or a video")
        if source.is_file() and source.suffix.lower() not in (*SUFFIXES, *VIDEOS):
            raise EANError(f"{source} is neither an image ({', '.join(SUFFIXES)}) nor a video ({', '.join(VIDEOS)})")
    if sources[0].suffix.lower() in VIDEOS:
        return [sources[0]]
    listing = find_images(sources, below=False)
    if message := listing.describe():
        print_wrapped(message, file=sys.stderr)
    return listing.files


def outputs_of(files: Sequence[Path], checkpoint: Path, settings: Settings) -> dict[str, Inputs]:
    """The names of the files that counting writes, and what each depends on, for `claim_outputs`."""
    fixed = {"checkpoint": digest_of_files([checkpoint]), "tile and overlap": [settings.tile, settings.overlap]}
    if files[0].suffix.lower() in VIDEOS:
        video = {**fixed, "video": digest_of_files(files), "every": settings.every}
        return {COUNTS: video, video_name(files[0]): video}
    images = [digest_of_files([file]) for file in files]
    outputs = {name: {**fixed, "image": image} for name, image in zip(picture_names(files), images, strict=True)}
    return {COUNTS: {**fixed, "images": digest_of(images)}, **outputs}


def count_images(model: CountingModel, files: list[Path], out: Path, settings: Settings) -> list[dict[str, Any]]:
    """Count images one at a time; return one entry per file."""
    entries: list[dict[str, Any]] = []
    with bar("images", len(files)) as progress:
        for number, (file, name) in enumerate(zip(files, picture_names(files), strict=True)):
            try:
                image = open_picture(file, max_pixels=MAX_PIXELS)
            except EANError as error:
                if len(files) == 1:
                    raise
                entries.append({"image": file.name, "error": str(error)})
                continue
            entry, picture = count_image(model, image, settings, annotated=settings.annotated.get(file.resolve()))
            write_image(out / name, picture)
            entries.append({"image": file.name, **entry, "picture": name})
            if progress is not None:
                progress.update(number + 1, f"{legible(file.name)}: {entry['count']:.1f}")
    if all("error" in entry for entry in entries):
        raise EANError(f"none of the {len(files)} images can be counted; the first error: {entries[0]['error']}")
    return entries


def picture_names(files: Sequence[Path]) -> list[str]:
    """A name for the picture of each image, all different: a.jpg may come with a.png or with another folder's a.jpg."""
    taken: dict[str, None] = {}
    for file in files:
        names = (result_name(stem, "_density.png") for stem in (file.stem, file.name))
        more = (result_name(file.stem, f"_{number}_density.png") for number in itertools.count(2))
        taken[next(name for name in itertools.chain(names, more) if name not in taken)] = None
    return list(taken)


def video_name(source: Path) -> str:
    """The name of the video with the densities of a video."""
    return result_name(source.stem, "_density.mp4")


def count_image(
    model: CountingModel,
    pixels: np.ndarray | Picture,
    settings: Settings,
    *,
    top: Callable[[float], float] = float,
    annotated: int | None = None,
) -> tuple[dict[str, Any], np.ndarray]:
    """Count one image; return its entry and picture. `top` maps the density's maximum to the top of the color scale."""
    density, tiles = predict_density(model, pixels, tile=settings.tile, overlap=settings.overlap)
    peak = float(density.max())
    small = np.asarray(pixels.reduced(LONGEST)) if isinstance(pixels, Picture) else pixels
    size, stride = pixels.shape[:2], model.counter.stride
    picture = overlay(small, density.numpy(), stride=stride, size=size, top=top(peak), annotated=annotated)
    count = float(density.double().sum())
    near = {} if settings.errors is None else settings.errors.near(count)
    entry = {
        "count": count,
        **({} if annotated is None else {"annotated": annotated}),
        **({"test_errors": {photos: asdict(errors) for photos, errors in near.items()}} if near else {}),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "tiles": tiles,
        "peak_heads_per_cell": peak,
        "cell_pixels": model.counter.stride,
    }
    return entry, picture


def count_video(model: CountingModel, source: Path, out: Path, settings: Settings) -> Iterator[dict[str, Any]]:
    """Count a video frame by frame; yield one entry per counted frame, and write NAME_density.mp4.

    Raises:
        EANError: if no frame can be decoded, or a path is not valid UTF-8, which would crash OpenCV.
    """
    for path in (source, out):
        if str(path) != legible(str(path)):
            raise EANError(f"the path {path} is not valid UTF-8, which videos need: rename it")
    video = cv2.VideoCapture(str(source))
    writer, highest, index, written = None, 0.0, 0, 0
    rate, frames = video.get(cv2.CAP_PROP_FPS) or 25.0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))

    def running_maximum(peak: float) -> float:
        """The largest density so far, so that colors are comparable between frames."""
        nonlocal highest
        highest = max(highest, peak)
        return highest

    try:
        with atomic_path(out / video_name(source)) as temporary, bar("frames", max(frames, 1)) as progress:
            while True:
                decoded, frame = video.read()
                if not decoded:
                    break
                if index % settings.every == 0:
                    entry, picture = count_image(model, frame[..., ::-1], settings, top=running_maximum)
                    # Most players require even sides.
                    picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
                    if writer is None:
                        size = (picture.shape[1], picture.shape[0])
                        code = cv2.VideoWriter.fourcc(*"mp4v")
                        writer = cv2.VideoWriter(str(temporary), code, rate / settings.every, size)
                    writer.write(np.ascontiguousarray(picture[..., ::-1]))
                    written += 1
                    yield {"frame": index, "seconds": index / rate, **entry}
                    if progress is not None:
                        progress.update(min(index + 1, max(frames, 1)), f"{entry['count']:.1f}")
                index += 1
            if writer is None:
                raise EANError(f"no frame of the video {source} can be decoded: convert it, or give a different one")
            writer.release()
            check_video(temporary, out / video_name(source), frames=written)
    finally:
        video.release()


def check_video(path: Path, name: Path, *, frames: int) -> None:
    """Check that all frames were written, since OpenCV does not report a full disk.

    Raises:
        EANError: if frames are missing, so that the file replaces no earlier one.
    """
    video = cv2.VideoCapture(str(path))
    try:
        complete = video.isOpened() and int(video.get(cv2.CAP_PROP_FRAME_COUNT)) >= frames and video.read()[0]
    finally:
        video.release()
    if not complete:
        raise EANError(
            f"the video {name} could not be written completely: free disk space there, or give another --out-dir"
        )
