"""From networks and images to pictures of heatmaps and attention masks."""

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

LabeledImage = tuple[str, Image.Image, str | None]
"""(name, image, true class or None)."""

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
    images: Iterable[LabeledImage],
    path: str | Path,
    *,
    target: str | int | None = None,
    stage: int = -1,
) -> Picture:
    """Draw the grid of heatmaps. Images larger than 2048 pixels on a side are reduced first.

    Args:
        networks: of one kind, a column each.
        images: a row each; one at a time is in memory.
        path: of the picture, a .png.
        target: a class by name or number, for all photos; None: each photo's true class where that is known, else the
            class that the first network finds most probable. A counter's target is the count.
        stage: whose output is looked at, as an index into the stages; default the last.

    Raises:
        EANError: for networks of different kinds, an unknown class or stage, or no photos.
    """
    check(networks, stage)
    rows, lines = [], []
    for name, image, truth in images:
        row, line = explain_image(networks, name, image, truth, target=target, stage=stage)
        rows.append(row)
        lines.append(line)
    if not rows:
        raise EANError("there are no images to explain: give at least one")
    headings = [
        f"{label}\n{network.describe()}" for label, network in zip(headings_of(networks), networks, strict=True)
    ]
    number = range(len(networks[0].trunk.stages))[stage] + 1
    note = (
        f"Grad-CAM on the output of stage {number};\neach map is stretched from its least (blue) to its greatest (red)."
    )
    return Picture(draw_grid(path, rows, headings, note=note), tuple(lines))


def check_picture(path: str | Path) -> None:
    """Refuse another ending than .png, which could be an image or a network that the picture would replace.

    Raises:
        EANError: for another ending, or a folder.
    """
    if not isinstance(path, str | Path) or Path(path).suffix.lower() != ".png" or Path(path).is_dir():
        raise EANError(f"the picture is written as a .png file, got {path}: give another output")


def explain_image(
    networks: Sequence[LoadedModel],
    name: str,
    image: Image.Image,
    truth: str | None,
    *,
    target: str | int | None,
    stage: int,
) -> tuple[Row, str]:
    """A row of the grid, and the same as a line of text."""
    name = legible(name)
    pictures, heatmaps, texts, reduced = [], [], [], ""
    choice = truth if target is None else target
    for network in networks:
        pixels, size = visible_pixels(network, image)
        reduced = f" (reduced to {size})" if size else reduced
        chosen = target_of(network, pixels, choice)
        if choice is None and network.classes:
            choice = chosen.name
        maps, output = grad_cam(network.network, network.trunk.stages[stage], network.inputs([pixels]), [chosen.value])
        pictures.append(as_picture(pixels))
        heatmaps.append(maps[0])
        texts.append(chosen.text(output[0].float().cpu()))
    title = f"{name}{reduced}" + ("" if truth is None or truth == name else f"\ntrue: {truth}")
    line = f"{name}{reduced}: " + " | ".join(text.replace("\n", ", ") for text in texts)
    return Row(title, pictures[0], pictures, heatmaps, texts), line


def visible_pixels(network: LoadedModel, image: Image.Image) -> tuple[Tensor, str]:
    """What a network sees of a photo, uint8 (C, H, W), and the size that a large one was reduced to, in words."""
    if network.prepare.size is None and network.prepare.fit is None and max(image.size) > LARGEST:
        scale = LARGEST / max(image.size)
        small = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
        return network.pixels(small), f"{small.width}x{small.height}"
    return network.pixels(image), ""


def explain_masks(network: LoadedModel, images: Iterable[LabeledImage], path: str | Path) -> Picture:
    """Draw the attention masks of a connected network, block by block.

    Raises:
        EANError: if no block is connected to attention.
    """
    if not network.trunk.scheme.connections:
        raise EANError(f"{network.path} has no masks to draw, as none of its blocks is connected to attention")
    rows, lines, fitted = [], [], False
    for name, image, _ in images:
        pixels, _ = visible_pixels(network, image)
        masks = attention_masks(network.network, network.trunk, network.inputs([pixels]))
        fitted = fitted or any(mask.fitted for mask in masks)
        name = legible(name)
        rows.append(MaskRow(name, as_picture(pixels), by_stage(network, masks)))
        values = [float(mask.values.mean()) for mask in masks]
        lines.append(f"{name}: {len(masks)} masks, mean {min(values):.3f} to {max(values):.3f}")
    subject = (
        "factors that come nearest to what the attention does, as it has no masks;" if fitted else "attention masks"
    )
    title = f"{subject}{'' if fitted else ' of'} {headings_of([network])[0]} ({network.describe()})"
    return Picture(draw_masks(path, rows, title=title), tuple(lines))


def by_stage(network: LoadedModel, masks: Sequence[BlockMask]) -> list[list[np.ndarray | None]]:
    """The masks of the first image, stage by stage; spatial ones as maps, where any is spatial."""
    table: list[list[np.ndarray | None]] = [[None] * depth for depth in network.trunk.stages_blocks]
    spatial = any(mask.spatial for mask in masks)
    for mask in masks:
        values = mask.of_positions(0) if spatial else mask.of_channels(0)
        table[mask.stage][mask.block] = values.numpy()
    return table


def target_of(network: LoadedModel, pixels: Tensor, choice: str | int | None) -> Target:
    """What the network makes of the wish; the error of one that lacks the class names it."""
    try:
        return network.make_target(network.outputs([pixels])[0], choice)
    except EANError as error:
        raise EANError(f"{network.path}: {error}") from None


def check(networks: Sequence[LoadedModel], stage: int) -> None:
    """Refuse networks of different kinds, and stages that do not exist."""
    kinds = {network.kind: network.path for network in networks}
    if len(kinds) > 1:
        kinds_text = ", ".join(f"{path} is a {kind}" for kind, path in kinds.items())
        raise EANError(f"one grid compares networks of one kind, but {kinds_text}: draw a grid for each kind")
    for network in networks:
        network.require_stages("Grad-CAM")
        count = len(network.trunk.stages)
        if isinstance(stage, bool) or not isinstance(stage, int):
            raise EANError(f"stage must be a whole number, an index into the stages, got {stage!r}")
        if not -count <= stage < count:
            raise EANError(f"{network.path} has no stage {stage + 1}: choose one from 1 to {count}")


def headings_of(networks: Sequence[LoadedModel]) -> list[str]:
    """A short heading for each network, from its file name."""
    return label_files([network.path for network in networks])


def as_picture(pixels: Tensor) -> np.ndarray:
    """uint8 (C, H, W) with one or three channels -> (H, W, 3)."""
    return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
