"""From networks and photos to the pictures: which target, which heatmaps, which masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ean_core.inference.explain.cam import grad_cam
from ean_core.inference.explain.grid import MaskRow, Row, draw_grid, draw_masks
from ean_core.inference.explain.masks import BlockMask, attention_masks
from ean_core.inference.explain.targets import Target
from ean_core.inference.loaded_model import LoadedModel, label_files
from ean_core.utils.errors import EANError, legible

Photo = tuple[str, Image.Image, str | None]
"""What to call it, the photo, and its true class where that is known."""

LARGEST = 2048  # pixels a side that a network is shown: Grad-CAM keeps all features of an image in memory


@dataclass(frozen=True)
class Picture:
    """A file that was written, and what is in it, a line per image."""

    path: Path
    lines: tuple[str, ...]


def true_class(file: Path, classes: Sequence[str]) -> str | None:
    """The class of an image file as far as its folder says it: data/val/bee/1.jpg is a bee."""
    name = file.absolute().parent.name
    return name if name in classes else None


def explain(
    networks: Sequence[LoadedModel],
    photos: Iterable[Photo],
    path: str | Path,
    *,
    target: str | int | None = None,
    stage: int = -1,
) -> Picture:
    """Draw the grid of heatmaps. A photo that a network would see with more than 2048 pixels a side is reduced first.

    Args:
        networks: of one kind, a column each.
        photos: a row each; one at a time is in memory.
        path: of the picture, a .png.
        target: a class by name or number, for all photos; None: each photo's true class where that is known, else the
            class that the first network finds most probable. A counter's target is the count.
        stage: whose output is looked at, as an index into the stages; default the last.

    Raises:
        EANError: for networks of different kinds, an unknown class or stage, or no photos.
    """
    check(networks, stage)
    rows, lines = [], []
    for name, photo, truth in photos:
        row, line = explain_photo(networks, name, photo, truth, target=target, stage=stage)
        rows.append(row)
        lines.append(line)
    if not rows:
        raise EANError("there are no images to explain: give at least one")
    headings = [f"{label}\n{network.describe()}" for label, network in zip(labels(networks), networks, strict=True)]
    number = range(len(networks[0].trunk.stages))[stage] + 1
    note = (
        f"Grad-CAM on the output of stage {number};\neach map is stretched from its least (blue) to its greatest (red)."
    )
    return Picture(draw_grid(path, rows, headings, note=note), tuple(lines))


def explain_photo(
    networks: Sequence[LoadedModel],
    name: str,
    photo: Image.Image,
    truth: str | None,
    *,
    target: str | int | None,
    stage: int,
) -> tuple[Row, str]:
    """A row of the grid, and the line that says the same."""
    name = legible(name)
    seen, heat, text, reduced = [], [], [], ""
    about = truth if target is None else target
    for network in networks:
        pixels, size = shown(network, photo)
        reduced = f" (reduced to {size})" if size else reduced
        chosen = target_of(network, pixels, about)
        if about is None and network.classes:
            about = chosen.name
        maps, output = grad_cam(network.network, network.trunk.stages[stage], network.inputs([pixels]), [chosen.value])
        seen.append(as_picture(pixels))
        heat.append(maps[0])
        text.append(chosen.text(output[0].float().cpu()))
    title = f"{name}{reduced}" + ("" if truth is None or truth == name else f"\ntrue: {truth}")
    line = f"{name}{reduced}: " + " | ".join(one.replace("\n", ", ") for one in text)
    return Row(title, seen[0], seen, heat, text), line


def shown(network: LoadedModel, photo: Image.Image) -> tuple[Tensor, str]:
    """What a network sees of a photo, uint8 (C, H, W), and the size that a large one was reduced to, in words."""
    if network.prepare.size is None and network.prepare.fit is None and max(photo.size) > LARGEST:
        scale = LARGEST / max(photo.size)
        small = photo.resize([max(1, round(side * scale)) for side in photo.size], Image.Resampling.BOX)
        return network.pixels(small), f"{small.width}x{small.height}"
    return network.pixels(photo), ""


def explain_masks(network: LoadedModel, photos: Iterable[Photo], path: str | Path) -> Picture:
    """Draw the attention masks of a connected network, block by block.

    Raises:
        EANError: if no block is connected to attention.
    """
    if not network.trunk.scheme.connections:
        raise EANError(f"{network.path} has no masks to draw, as none of its blocks is connected to attention")
    rows, lines, fitted = [], [], False
    for name, photo, _ in photos:
        pixels, _ = shown(network, photo)
        masks = attention_masks(network.network, network.trunk, network.inputs([pixels]))
        fitted = fitted or any(mask.fitted for mask in masks)
        name = legible(name)
        rows.append(MaskRow(name, as_picture(pixels), by_stage(network, masks)))
        values = [float(mask.values.mean()) for mask in masks]
        lines.append(f"{name}: {len(masks)} masks, mean {min(values):.3f} to {max(values):.3f}")
    what = "factors that come nearest to what the attention does, as it has no masks;" if fitted else "attention masks"
    title = f"{what}{'' if fitted else ' of'} {labels([network])[0]} ({network.describe()})"
    return Picture(draw_masks(path, rows, title=title), tuple(lines))


def by_stage(network: LoadedModel, masks: Sequence[BlockMask]) -> list[list[np.ndarray | None]]:
    """The masks of the first image, stage by stage; spatial ones as maps, where any is spatial."""
    table: list[list[np.ndarray | None]] = [[None] * depth for depth in network.trunk.stages_blocks]
    spatial = any(mask.spatial for mask in masks)
    for mask in masks:
        values = mask.of_positions(0) if spatial else mask.of_channels(0)
        table[mask.stage][mask.block] = values.numpy()
    return table


def target_of(network: LoadedModel, pixels: Tensor, wanted: str | int | None) -> Target:
    """What the network makes of the wish; the error of one that lacks the class names it."""
    try:
        return network.make_target(network.outputs([pixels])[0], wanted)
    except EANError as error:
        raise EANError(f"{network.path}: {error}") from None


def check(networks: Sequence[LoadedModel], stage: int) -> None:
    """Refuse what cannot stand in one grid."""
    kinds = {network.kind: network.path for network in networks}
    if len(kinds) > 1:
        what = ", ".join(f"{path} is a {kind}" for kind, path in kinds.items())
        raise EANError(f"one grid compares networks of one kind, and {what}: draw a grid for each kind")
    for network in networks:
        count = len(network.trunk.stages)
        if isinstance(stage, bool) or not isinstance(stage, int):
            raise EANError(f"stage must be a whole number, an index into the stages, got {stage!r}")
        if not -count <= stage < count:
            raise EANError(f"{network.path} has the stages 1 to {count}, and stage {stage + 1} was asked for")


def labels(networks: Sequence[LoadedModel]) -> list[str]:
    """A heading per network."""
    return label_files([network.path for network in networks])


def as_picture(pixels: Tensor) -> np.ndarray:
    """uint8 (C, H, W) with one or three channels -> (H, W, 3)."""
    return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
