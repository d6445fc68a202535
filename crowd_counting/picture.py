"""A density map over its image, to see where a counter sees heads."""

from __future__ import annotations

import cv2
import numpy as np

LONGEST = 2048  # pixels of a picture's longer side


def overlay(pixels: np.ndarray, density: np.ndarray, *, stride: int, top: float | None = None) -> np.ndarray:
    """Colours over the image where heads are, and the count in the corner.

    Args:
        pixels: uint8 (H, W, 3), RGB.
        density: float32 (h, w), heads per cell.
        stride: pixels per cell.
        top: heads per cell that get the strongest colour; None: the map's own maximum.

    Returns:
        uint8 (H', W', 3), RGB: the image, reduced so that no side is above 2048 pixels.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    top = float(density.max()) if top is None else top
    # Only the picture is interpolated; the count is the sum of the map as it is.
    padded = (round(density.shape[1] * stride * scale), round(density.shape[0] * stride * scale))
    shown = cv2.resize(np.clip(density / max(top, 1e-12), 0, 1), padded, interpolation=cv2.INTER_LINEAR)
    shown = shown[: size[1], : size[0]]
    shown = np.pad(shown, ((0, size[1] - shown.shape[0]), (0, size[0] - shown.shape[1])))
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
