"""Export of trained networks: each file is read back and compared with the network before it is kept.

Every file must give the network's outputs on random images of several batch and image sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ean_core.inference.export_formats import FORMATS
from ean_core.inference.export_tracing import Run, on_cpu, side_of
from ean_core.inference.loaded_model import LoadedModel
from ean_core.io.made_from import check_outputs, digest_of_files, note_outputs
from ean_core.utils.errors import EANError, unknown_name
from ean_core.utils.files import atomic_path

TOLERANCE = 1e-4  # of the largest value of the output
Shape = tuple[int, int, int]  # (batch, height, width)


@dataclass(frozen=True)
class Report:
    """The result of an export: the file and its largest error.

    Attributes:
        path: the file.
        sizes: the batch and image sizes that it takes, in words.
        difference: largest absolute difference from the network's outputs, over all checks.
        relative: largest ratio of the difference to the largest magnitude in the network's output.
        shapes: (batch, height, width) of the checks.
    """

    path: Path
    sizes: str
    difference: float
    relative: float
    shapes: tuple[Shape, ...]

    def __str__(self) -> str:
        checked = ", ".join(f"{batch}x{height}x{width}" for batch, height, width in self.shapes)
        return (
            f"{self.path} ({self.path.stat().st_size / 1e6:.2f} MB, {self.sizes}): largest difference from the network "
            f"{self.difference:.2g}, relative {self.relative:.2g}, on random batches of {checked}"
        )


def export(model: LoadedModel, target: str, directory: str | Path, *, tolerance: float = TOLERANCE) -> Report:
    """Export a network, and verify the file.

    Args:
        model: the network, which is not changed.
        target: a key of `FORMATS`.
        directory: where NAME.onnx, NAME.pt2 or NAME.safetensors goes, NAME being the network file's.
        tolerance: allowed difference, relative to the largest magnitude in the network's output.

    Raises:
        EANError: for an unknown target, a missing package, a network that cannot be exported, a file whose outputs
            differ from the network's, which is removed, or a directory with a file of this name made of another
            checkpoint.
    """
    if target not in FORMATS:
        raise unknown_name("format", target, list(FORMATS))
    file_format = FORMATS[target]
    path = Path(directory) / f"{model.path.stem}{file_format.suffix}"
    if path.absolute() == model.path.absolute():
        raise EANError(f"{path} would overwrite the checkpoint: give another --output-dir")
    outputs = {path.name: {"checkpoint": digest_of_files([model.path])}}
    check_outputs(path.parent, outputs, option="--output-dir")
    with atomic_path(path) as temporary:
        sizes, description = file_format.write(model, temporary)
        run = file_format.read(temporary, model)
        shapes = shapes_of(model, any_size=sizes.any_size, least=sizes.least)
        difference, relative = compare(model, run, shapes)
        if not relative <= tolerance:  # NaN too
            raise EANError(
                f"{path.name} differs from the network by {difference:.2g}, relative {relative:.2g}, which is above "
                f"the tolerance of {tolerance:g}: no file was written"
            )
        note_outputs(path.parent, outputs)
    return Report(path, description, difference, relative, shapes)


def shapes_of(model: LoadedModel, *, any_size: bool, least: int | None = None) -> tuple[Shape, ...]:
    """(batch, height, width) of the checks: several batches, and odd and unequal sides if any size is allowed."""
    side = side_of(model)
    own = (1, side, side), (3, side, side)
    small = () if least is None else ((2, least, least), (1, least, side))
    return (*own, (2, side + side // 4 + 1, side), (5, side, side + side // 2 + 3), *small) if any_size else own


@torch.inference_mode()
def compare(model: LoadedModel, run: Run, shapes: tuple[Shape, ...]) -> tuple[float, float]:
    """Largest difference of `run` from the network on random images, and relative to the network's largest output."""
    network = on_cpu(model)
    generator = torch.Generator().manual_seed(0)
    differences, relative = [], []
    for batch, height, width in shapes:
        images = torch.randn(batch, model.prepare.channels, height, width, generator=generator)
        expected, got = network(images), run(images)
        if expected.shape != got.shape:
            raise EANError(
                f"the exported network gives {tuple(got.shape)} where the network gives {tuple(expected.shape)}"
            )
        difference = (expected - got).abs().max().item()
        differences.append(difference)
        relative.append(difference / max(expected.abs().max().item(), 1e-12))
    return worst(differences), worst(relative)


def worst(values: list[float]) -> float:
    """The largest value, or NaN if there is one, which Python's max would ignore."""
    return torch.tensor(values, dtype=torch.float64).max().item()
