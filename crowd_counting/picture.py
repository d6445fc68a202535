"""A density map over its image, to see where a counter sees heads."""

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
) -> np.ndarray:
    """Colours over the image where heads are, and the count in the corner.

    Args:
        pixels: uint8 (H, W, 3), RGB; or of a large image what it was reduced to.
        density: float32 (h, w), heads per cell.
        stride: pixels of the image per cell.
        size: (H, W) of the image; None: that of `pixels`.
        top: heads per cell that get the strongest colour; None: the map's own maximum.

    Returns:
        uint8 (H', W', 3), RGB: the image, reduced so that no side is above 2048 pixels.
    """
    height, width = size or pixels.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = pixels if pixels.shape[1::-1] == shape else cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA)
    top = float(density.max()) if top is None else top
    # Only the picture is interpolated; the count is the sum of the map as it is.
    padded = tuple(max(1, round(cells * stride * scale)) for cells in density.shape[::-1])
    shown = cv2.resize(np.clip(density / max(top, 1e-12), 0, 1), padded, interpolation=cv2.INTER_LINEAR)
    shown = shown[: shape[1], : shape[0]]
    shown = np.pad(shown, ((0, shape[1] - shown.shape[0]), (0, shape[0] - shown.shape[1])))
    colours = cv2.applyColorMap((255 * shown).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    strength = 0.75 * np.sqrt(shown)[..., None]
    blended = (small * (1 - strength) + colours * strength).astype(np.uint8)
    return write_count(blended, float(density.sum()))


def write_count(picture: np.ndarray, count: float) -> np.ndarray:
    """The count, white on black, in the upper left corner."""
    scale = max(0.5, min(picture.shape[:2]) / 500)
    picture = np.ascontiguousarray(picture)
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        place = (round(8 * scale), round(26 * scale))
        cv2.putText(
            picture, f"{count:.0f}", place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, max(1, round(thickness * scale))
        )
    return picture
