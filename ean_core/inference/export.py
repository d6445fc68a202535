"""Export of networks: ONNX, torch.export's .pt2, and weights as safetensors, each verified before it is kept.

The exported network is pruned, with batch norm folded (`ean_core/deploy/fold.py`). Each file is read back and must give
the same outputs as the network on random images of several batch and image sizes.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import re
import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.deploy.fold import fold_batch_norm
from ean_core.inference.dynamic_pool import make_pools_dynamic
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.io.safetensors_file import write_safetensors
from ean_core.networks import StagedNetwork
from ean_core.utils.errors import EANError, first_line, unknown_name
from ean_core.utils.files import atomic_path
from ean_core.utils.optional_packages import require

TOLERANCE = 1e-4  # of the largest value of the output
NO_SIZE = 128  # side in pixels of the test images for a network that takes images of any size
OUTPUTS = {
    "classifier": "(batch, classes): softmax gives probabilities",
    "counter": "(batch, 1, rows, columns), people per cell: the sum is the count",
    "segmentor": "(batch, classes, height, width), of the images' size: the largest is a pixel's class",
}
Run = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]  # (batch, height, width)


@dataclass(frozen=True)
class Sizes:
    """The image sizes that an exported network takes.

    Attributes:
        side: of the images that it was traced with, in pixels.
        any_size: whether it takes other sizes too.
        least: smallest side in pixels.
    """

    side: int
    any_size: bool = True
    least: int = 1

    def __str__(self) -> str:
        if not self.any_size:
            return f"any batch, images of {self.side}x{self.side} only"
        return "any batch, any image size" + (f" from {self.least}x{self.least} on" if self.least > 1 else "")


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
        target: a key of `TARGETS`.
        directory: where NAME.onnx, NAME.pt2 or NAME.safetensors goes, NAME being the network file's.
        tolerance: allowed difference, relative to the largest magnitude in the network's output.

    Raises:
        EANError: for an unknown target, a missing package, a network that cannot be exported, or a file whose outputs
            differ from the network's, which is removed.
    """
    if target not in TARGETS:
        raise unknown_name("format", target, list(TARGETS))
    suffix, write = TARGETS[target]
    path = Path(directory) / f"{model.path.stem}{suffix}"
    if path.absolute() == model.path.absolute():
        raise EANError(f"{path} would overwrite the checkpoint: give another --output-dir")
    with atomic_path(path) as temporary:
        sizes, description = write(model, temporary)
        run = READERS[target](temporary, model)
        shapes = shapes_of(model, any_size=sizes.any_size, least=sizes.least)
        difference, relative = compare(model, run, shapes)
        if not relative <= tolerance:  # NaN too
            raise EANError(
                f"{path.name} differs from the network by {difference:.2g}, relative {relative:.2g}, which is above "
                f"the tolerance of {tolerance:g}: no file was written"
            )
    return Report(path, description, difference, relative, shapes)


# -- what is exported -------------------------------------------------------------------------------------------------


def deployable(model: LoadedModel) -> nn.Module:
    """A pruned copy with batch norm folded, on the CPU and in eval mode."""
    return fold_batch_norm(on_cpu(model))


def on_cpu(model: LoadedModel) -> nn.Module:
    """A copy of the network on the CPU and in eval mode."""
    return copy.deepcopy(model.network).cpu().eval()


def facts(model: LoadedModel, sizes: Sizes) -> dict[str, str]:
    """Metadata for running an exported network, as strings; lists and numbers are JSON."""
    prepare, spec = model.prepare, model.content["model"]
    values = {
        "classes": list(model.classes),
        "mean": list(prepare.mean),
        "std": list(prepare.std),
        "channels": prepare.channels,
        "image_size": prepare.size,
        "resize": prepare.resize,
        "fit": prepare.fit,
        "model": spec,
    }
    if sizes.any_size:
        values["least_size"] = sizes.least  # pixels a side
    texts = {"kind": model.kind, "arch": spec["arch"], "attention": spec.get("attention") or "none"}
    texts["scheme"] = str(model.trunk.scheme)
    texts["output"] = f"{model.output} {OUTPUTS[model.kind]}"
    texts["input"] = "RGB or grey values / 255, minus mean, by std, float32 (batch, channels, height, width)"
    return {**texts, **{name: json.dumps(value) for name, value in values.items()}}


def trace(model: LoadedModel, *, any_size: bool) -> torch.export.ExportedProgram:
    """The deployable network as a graph for any batch, and for any image size or for the one it was trained on."""
    side = side_of(model)
    example = torch.zeros(2, model.prepare.channels, side, side)  # a batch of one would be taken for a constant
    free = torch.export.Dim.DYNAMIC
    network = Renamed(make_pools_dynamic(deployable(model)) if any_size else deployable(model))
    with quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes={"images": {0: free, 2: free, 3: free} if any_size else {0: free}}
        )


class Renamed(nn.Module):
    """A network whose argument is called `images`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> the network's output."""
        return self.network(images)


# -- the formats ------------------------------------------------------------------------------------------------------


def write_onnx(model: LoadedModel, path: Path) -> tuple[Sizes, str]:
    """ONNX, with the facts as metadata; see `widest`."""
    require("onnx", "onnxscript", "onnxruntime", extra="export", what="the export to ONNX")
    import onnx

    def convert(program: torch.export.ExportedProgram) -> onnx.ModelProto:
        with quiet():
            exported = torch.onnx.export(
                program, (), input_names=["images"], output_names=[model.output], dynamo=True, verbose=False
            )
        return exported.model_proto

    proto, any_size = widest(model, convert)
    name_axes(proto)
    sizes = sizes_of(run_onnx(proto.SerializeToString()), model, any_size=any_size)
    onnx.helper.set_model_props(proto, facts(model, sizes))
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())
    return sizes, str(sizes)


def name_axes(model: Any) -> None:
    """Name the dynamic axes batch, height and width instead of the tracer's s77 and the like."""
    axes = [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    names = {axes[index]: name for index, name in ((0, "batch"), (2, "height"), (3, "width")) if axes[index]}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(r"\w+", lambda match: names.get(match[0], match[0]), axis.dim_param)


def read_onnx(path: Path, model: LoadedModel) -> Run:
    """Load the file in ONNX Runtime."""
    return run_onnx(path.read_bytes())


def run_onnx(content: bytes) -> Run:
    """Load a file's content in ONNX Runtime; returns images -> output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def write_torch(model: LoadedModel, path: Path) -> tuple[Sizes, str]:
    """torch.export's archive, with the facts in it as facts.json; see `widest`.

    The tracer assumes that no feature map has a side of 1, and the program rejects smaller images with a formula. The
    smallest side is found by trial and written into the program, whose error then names it.
    """

    def save(program: torch.export.ExportedProgram) -> tuple[bytes, Sizes]:
        (images,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == "images")
        height_and_width = images.meta["val"].shape[2:]
        sizes = sizes_of(program.module(), model, any_size=isinstance(height_and_width[0], torch.SymInt))
        for side in height_and_width if sizes.least > 1 else ():
            bounds = program.range_constraints[side.node.expr]
            program.range_constraints[side.node.expr] = type(bounds)(sizes.least, bounds.upper)
        buffer = io.BytesIO()  # writing to a file, PyTorch aborts the process on a full disk
        with quiet():
            torch.export.save(program, buffer, extra_files={"facts.json": json.dumps(facts(model, sizes))})
        return buffer.getvalue(), sizes

    (archive, sizes), _ = widest(model, save)
    path.write_bytes(archive)
    return sizes, str(sizes)


def read_torch(path: Path, model: LoadedModel) -> Run:
    """Load the archive as a module."""
    return torch.export.load(path).module()


def write_weights(model: LoadedModel, path: Path) -> tuple[Sizes, str]:
    """The pruned network's weights, batch norm not folded, so that they can be trained on."""
    write_safetensors(path, *as_content(model))
    return Sizes(side_of(model)), "weights with scheme, recipe and classes"


def as_content(model: LoadedModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The pruned network's weights, and the other content of its file."""
    content, network = dict(model.content), model.network
    if "pruned" in content["model"]:
        assert isinstance(network, StagedNetwork)
        scheme = network.scheme.text if content["model"].get("attention") else None
        content["model"] = {**content["model"], "scheme": scheme, "pruned": True}
        network = network.prune()
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, content


def read_weights(path: Path, model: LoadedModel) -> Run:
    """Load the network from the file, for a segmentor with its config."""
    return load_file(path, device="cpu", config=model.config).network


TARGETS: dict[str, tuple[str, Callable[[LoadedModel, Path], tuple[Sizes, str]]]] = {
    "onnx": (".onnx", write_onnx),
    "torch": (".pt2", write_torch),
    "safetensors": (".safetensors", write_weights),
}
READERS: Mapping[str, Callable[[Path, LoadedModel], Run]] = {
    "onnx": read_onnx,
    "torch": read_torch,
    "safetensors": read_weights,
}


def widest(model: LoadedModel, convert: Callable[[torch.export.ExportedProgram], Any]) -> tuple[Any, bool]:
    """The conversion for any image size or, where the network does not allow it, for the one it was trained on.

    Returns:
        the result of `convert`, and whether it takes any image size.

    Raises:
        EANError: if neither works.
    """
    try:
        return convert(trace(model, any_size=True)), True
    except Exception:  # the tracer and the converter raise many kinds; a second failure is reported
        pass
    try:
        return convert(trace(model, any_size=False)), False
    except EANError:  # of the network itself, which says it better
        raise
    except Exception as error:
        raise EANError(
            f"{model.path} cannot be exported ({type(error).__name__}: {first_line(error)}): "
            "torch.export does not support its attention or its layout"
        ) from error


# -- checking ---------------------------------------------------------------------------------------------------------


def shapes_of(model: LoadedModel, *, any_size: bool, least: int | None = None) -> tuple[Shape, ...]:
    """(batch, height, width) of the checks: several batches, and odd and unequal sides if any size is allowed."""
    side = side_of(model)
    own = (1, side, side), (3, side, side)
    small = () if least is None else ((2, least, least), (1, least, side))
    return (*own, (2, side + side // 4 + 1, side), (5, side, side + side // 2 + 3), *small) if any_size else own


def sizes_of(run: Run, model: LoadedModel, *, any_size: bool) -> Sizes:
    """The image sizes that an exported network takes; the smallest side is found by trial."""
    side = side_of(model)
    if not any_size:
        return Sizes(side, any_size=False)
    return Sizes(side, least=1 + bisect_left(range(1, side), True, key=lambda side: accepts(run, model, side)))


def accepts(run: Run, model: LoadedModel, side: int) -> bool:
    """Whether an exported network accepts a square image of this side."""
    try:
        run(torch.zeros(1, model.prepare.channels, side, side))
    except Exception:  # torch's guards raise AssertionError, ONNX Runtime kinds of its own
        return False
    return True


def side_of(model: LoadedModel) -> int:
    """Side in pixels of the images that a network is traced and first checked with."""
    return model.prepare.size or NO_SIZE


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


@contextmanager
def quiet() -> Any:
    """Silence the tracer's and the converter's messages on their own internals."""
    names = ("torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")
    before = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
