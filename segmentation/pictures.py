"""Draw image, ground truth and prediction side by side, with a legend of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from ean_core.utils.fonts import drawable
from segmentation.data.masks import BORDER

LONGEST = 2048  # pixels of a picture's longer side
GAP = 6
LINE = 22


def side_by_side(
    image: np.ndarray, masks: Mapping[str, np.ndarray], *, classes: tuple[str, ...], palette: list[list[int]]
) -> np.ndarray:
    """Draw an image and its masks next to each other, with a legend.

    Args:
        image: uint8 (H, W, 3), RGB.
        masks: title -> labels (H, W).
        classes, palette: names and colors of the data set's classes.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    panels = [with_title(image, "image")]
    panels += [with_title(colorize(mask, palette), title) for title, mask in masks.items()]
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    present = sorted({int(label) for mask in masks.values() for label in np.unique(mask)})
    keys = [(classes[i], palette[i]) for i in present if i < len(classes)]
    if present and present[-1] >= len(classes):  # label 255: the borders of objects
        keys.append(("ignored", list(BORDER)))
    return np.concatenate([row, legend(row.shape[1], keys)], axis=0)


def colorize(mask: np.ndarray, palette: list[list[int]]) -> np.ndarray:
    """Map labels (H, W) to colors, uint8 (H, W, 3)."""
    table = np.full((256, 3), BORDER, np.uint8)
    table[: len(palette)] = palette
    return table[mask.astype(np.uint8)]


def tinted(image: np.ndarray, labels: np.ndarray, meta: Mapping[str, Any]) -> np.ndarray:
    """Draw labels (H, W) over their image, uint8 (h, w, 3), with a legend of the classes below.

    The image may be reduced; the labels are resized to it.
    """
    small = cv2.resize(labels.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    colors = colorize(small, [list(color) for color in meta["palette"]])
    mixed = cv2.addWeighted(image, 0.5, colors, 0.5, 0)
    keys = [(meta["classes"][i], list(meta["palette"][i])) for i in np.unique(small)]
    return np.concatenate([mixed, legend(image.shape[1], keys)], axis=0)


def with_title(panel: np.ndarray, title: str) -> np.ndarray:
    """Put a title line above a panel."""
    line = np.full((LINE, panel.shape[1], 3), 255, np.uint8)
    return np.concatenate([write(line, title, 2), panel], axis=0)


def legend(width: int, entries: list[tuple[str, list[int]]]) -> np.ndarray:
    """Draw lines of color boxes with class names."""
    lines, x = [np.full((LINE, width, 3), 255, np.uint8)], 4
    for name, color in entries:
        needed = 30 + 9 * len(name)
        if x + needed > width and x > 4:
            lines.append(np.full((LINE, width, 3), 255, np.uint8))
            x = 4
        cv2.rectangle(lines[-1], (x, 5), (x + 12, 17), color, -1)
        write(lines[-1], name, x + 17)
        x += needed
    return np.concatenate(lines, axis=0)


def write(line: np.ndarray, text: str, x: int) -> np.ndarray:
    """Write text into a line in place; OpenCV supports only ASCII."""
    if not text.isascii():
        shown, families = drawable(text)
        image = Image.fromarray(line)
        file = font_manager.findfont(families[-1])
        ImageDraw.Draw(image).text((x, 2), shown, fill=(0, 0, 0), font=ImageFont.truetype(file, 14))
        line[:] = np.asarray(image)
        return line
    cv2.putText(line, text, (x, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def draw_sample(image: np.ndarray, sample: Any, meta: Mapping[str, Any]) -> np.ndarray:
    """Draw an RGB image with mmsegmentation's data sample for it, including the ground truth if it has one.

    The image may be reduced; the masks are resized to it.
    """
    masks = {}
    if "gt_sem_seg" in sample:
        masks["truth"] = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
    masks["prediction"] = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
    size = image.shape[1::-1]
    masks = {
        name: cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) for name, mask in masks.items()
    }
    return side_by_side(
        image, masks, classes=tuple(meta["classes"]), palette=[list(color) for color in meta["palette"]]
    )
