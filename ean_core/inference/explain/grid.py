"""Pictures of heatmaps and masks. Functions take plain arrays and write a PNG; nothing is computed here."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from ean_core.utils.drawing import render
from ean_core.utils.files import atomic_path
from ean_core.utils.fonts import drawable

SIDE = 288  # pixels that the longer side of a picture in the grid is enlarged or reduced to
HEAT = "turbo"
MOST_MAPS = 6  # spatial masks beside each other
CHARACTERS = 28  # of a line above or below a picture of the grid, so that neighbors do not run into each other


@dataclass(frozen=True, eq=False)
class Row:
    """An image of the grid.

    Attributes:
        title: beside it.
        photo: uint8 (H, W, 3).
        seen: per column, what that network saw: uint8 (H, W, 3).
        heat: per column, float32 (H, W) of 0 to 1.
        text: per column, what stands below.
    """

    title: str
    photo: np.ndarray
    seen: list[np.ndarray]
    heat: list[np.ndarray]
    text: list[str]


def enlarge(image: np.ndarray, *, side: int = SIDE) -> np.ndarray:
    """uint8 (H, W, 3) or float (H, W), resized so that its longer side has `side` pixels, without visible steps."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR if image.ndim == 2 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=interpolation)


def overlay(image: np.ndarray, heat: np.ndarray, *, strength: float = 0.5) -> np.ndarray:
    """A heatmap (H, W) of 0 to 1 over its image uint8 (H, W, 3), both enlarged: uint8."""
    colors = colormaps[HEAT](np.clip(enlarge(heat), 0, 1))[..., :3] * 255
    return np.rint(enlarge(image) * (1 - strength) + colors * strength).astype(np.uint8)


def draw_grid(path: str | Path, rows: Sequence[Row], columns: Sequence[str], *, note: str = "") -> Path:
    """A row per image and a column per network, the image itself first (the paper's Figure 6).

    Args:
        path: a .png file; replaced atomically.
        rows: the images.
        columns: a heading per network.
        note: small print below.
    """
    count = len(columns) + 1
    below = [[wrapped(text) for text in (row.title, *row.text)] for row in rows]
    above = [wrapped(heading) for heading in ("image", *columns)]
    lines, headings = max(map(height_of, below)), height_of(above)
    heights = [2.0 * min(1.6, max(0.1, row.photo.shape[0] / row.photo.shape[1])) + 0.18 * lines for row in rows]
    figure = Figure(figsize=(2.15 * count, sum(heights) + 0.45 + 0.18 * headings), dpi=150, layout="constrained")
    panels = figure.subplots(len(rows), count, squeeze=False, height_ratios=heights)
    for row, texts, axes_row in zip(rows, below, panels, strict=True):
        pictures = [enlarge(row.photo), *map(overlay, row.seen, row.heat)]
        for axes, picture, text in zip(axes_row, pictures, texts, strict=True):
            axes.imshow(picture)
            set_text(axes.set_xlabel, text, fontsize=8)
            hide_axes(axes)
    for axes, heading in zip(panels[0], above, strict=True):
        set_text(axes.set_title, heading, fontsize=9)
    figure.supxlabel(note, fontsize=6.5, x=0.01, ha="left", color="#555555")
    return save(figure, path)


def height_of(texts: Sequence[str]) -> int:
    """Lines of the highest of some texts."""
    return max(text.count("\n") + 1 for text in texts)


def wrapped(text: str) -> str:
    """A text in lines of at most `CHARACTERS`, broken at blanks where there are any."""
    return "\n".join(piece for line in text.split("\n") for piece in textwrap.wrap(line, CHARACTERS) or [""])


@dataclass(frozen=True, eq=False)
class MaskRow:
    """The masks of one image.

    Attributes:
        title: beside it.
        photo: uint8 (H, W, 3).
        stages: per stage its blocks; per block None where it is not connected, else (C,) or (H, W).
    """

    title: str
    photo: np.ndarray
    stages: list[list[np.ndarray | None]]


def draw_masks(path: str | Path, rows: Sequence[MaskRow], *, title: str) -> Path:
    """The masks of a network: a row per image, a column per stage.

    Channel masks are strips, a block below the other, a channel beside the other; spatial ones are maps, a block after
    the other. A block without connection is left gray.

    Args:
        path: a .png file; replaced atomically.
        rows: the images.
        title: above.
    """
    masks = [mask for row in rows for stage in row.stages for mask in stage if mask is not None]
    low, high = min(mask.min() for mask in masks), max(mask.max() for mask in masks)
    stages = len(rows[0].stages)
    depth = max(len(stage) for stage in rows[0].stages)
    flat = masks[0].ndim == 2
    height = 1.7 if flat else max(1.7, 0.12 * depth)
    figure = Figure(figsize=(2.0 + 3.0 * stages, (height + 0.35) * len(rows) + 0.9), dpi=150, layout="constrained")
    panels = figure.subplots(len(rows), stages + 1, squeeze=False, width_ratios=[0.6] + [1] * stages)
    colormap = colormaps["viridis"].with_extremes(bad="#D8D8D8")
    mappable = None
    for row, axes_row in zip(rows, panels, strict=True):
        axes_row[0].imshow(enlarge(row.photo))
        set_text(axes_row[0].set_xlabel, row.title, fontsize=8)
        hide_axes(axes_row[0])
        for number, (axes, blocks) in enumerate(zip(axes_row[1:], row.stages, strict=True), start=1):
            picture = mosaic(blocks) if flat else strips(blocks)
            aspect = "equal" if flat else "auto"
            mappable = axes.imshow(picture, cmap=colormap, vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
            connected = sum(block is not None for block in blocks)
            axes.set_title(f"stage {number}: {connected} of {len(blocks)} connected", fontsize=8)
            label_blocks(axes, len(blocks), flat=flat, channels=connected > 0)
    bar = figure.colorbar(mappable, ax=panels[:, -1], shrink=0.8)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("factor on the residual", fontsize=7)
    set_text(figure.suptitle, title, fontsize=10, x=0.01, ha="left")
    return save(figure, path)


def strips(blocks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Channel masks (C,) of a stage as an image (blocks, C); NaN where there is none."""
    channels = next((len(block) for block in blocks if block is not None), 1)
    return np.stack([np.full(channels, np.nan) if block is None else block for block in blocks])


def mosaic(blocks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Spatial masks (H, W) of a stage, up to six beside each other, NaN between them and where there is none."""
    height, width = next((block.shape for block in blocks if block is not None), (1, 1))
    gap = max(1, width // 12)
    across = min(MOST_MAPS, len(blocks))
    down = -(-len(blocks) // across)
    picture = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    for number, block in enumerate(blocks):
        if block is not None:
            top, left = (
                index * side for index, side in zip(divmod(number, across), (height + gap, width + gap), strict=True)
            )
            picture[top : top + height, left : left + width] = block
    return picture


def label_blocks(axes: Any, count: int, *, flat: bool, channels: bool) -> None:
    """Block numbers beside strips, and what runs along each axis; without `channels` there are none to number."""
    if flat:
        hide_axes(axes)
        axes.set_xlabel("blocks in reading order", fontsize=7)
        return
    axes.tick_params(length=0, labelsize=6)
    axes.spines[:].set_visible(False)
    step = -(-count // 10)
    axes.set_yticks(range(0, count, step), range(1, count + 1, step))
    axes.set_ylabel("block", fontsize=7)
    if channels:
        axes.set_xlabel("channel", fontsize=7)
    else:
        axes.set_xticks([])


def hide_axes(axes: Any) -> None:
    """Remove the ticks and the frame of an image's axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def set_text(write: Callable[..., Any], text: str, **options: Any) -> None:
    """Write a text as it is, in fonts that have its characters: names of files and classes may hold anything."""
    text, families = drawable(text)
    write(text, family=families, parse_math=False, **options)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure to a PNG file, replaced atomically."""
    path = Path(path)
    with atomic_path(path) as temporary:
        render(figure, temporary, format="png")
    return path
