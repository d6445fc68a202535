"""Draw a density map over its image, to show where a counter sees people."""

from __future__ import annotations

import cv2
import numpy as np

LONGEST = 2048  # pixels of a picture's longer side


def overlay(
    pixels: np.ndarray,
    density: np.ndarray,
    *,
    stride: int,
    size: tuple[int, int] | None = None,
    top: float | None = None,
    annotated: int | None = None,
) -> np.ndarray:
    """Color the image by density and write the predicted count, and the true one, in the corner.

    Args:
        annotated: the true number of people; None if it is not known.

    The others, and what is returned, are those of `color_by_density`.
    """
    true = "" if annotated is None else f", true {annotated}"
    colored = color_by_density(pixels, density, stride=stride, size=size, top=top)
    return write_text(colored, f"predicted {density.sum():.0f}{true}")


def color_by_density(
    pixels: np.ndarray,
    density: np.ndarray,
    *,
    stride: int,
    size: tuple[int, int] | None = None,
    top: float | None = None,
) -> np.ndarray:
    """Color the image where heads are.

    Args:
        pixels: uint8 (H, W, 3), RGB; for a large image, its reduced version.
        density: float32 (h, w), heads per cell.
        stride: pixels of the full image per cell.
        size: (H, W) of the full image; None for that of `pixels`.
        top: heads per cell shown in the strongest color; None for the map's maximum.

    Returns:
        uint8 (H', W', 3), RGB, reduced so that no side exceeds 2048 pixels.
    """
    height, width = size or pixels.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = pixels if pixels.shape[1::-1] == shape else cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    top = float(density.max()) if top is None else top
    # Interpolation is for display only; the count is the sum of the original map.
    padded = tuple(max(1, round(cells * stride * scale)) for cells in density.shape[::-1])
    heat = cv2.resize(np.clip(density / max(top, 1e-12), 0, 1), padded, interpolation=cv2.INTER_LINEAR)
    heat = heat[: shape[1], : shape[0]]
    heat = np.pad(heat, ((0, shape[1] - heat.shape[0]), (0, shape[0] - heat.shape[1])))
    colors = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    strength = 0.75 * np.sqrt(heat)[..., None]
    return (small * (1 - strength) + colors * strength).astype(np.uint8)


def write_text(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a text, white with a black outline, in the upper left corner."""
    scale = max(0.5, min(picture.shape[:2]) / 500)
    scale = min(scale, 3 * picture.shape[1] / (60 * len(text)))  # the text is no wider than the picture
    picture = np.ascontiguousarray(picture)
    for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        origin = (round(8 * scale), round(26 * scale))
        cv2.putText(picture, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, color, max(1, round(thickness * scale)))
    return picture
