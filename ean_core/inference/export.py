"""Networks for production: ONNX, torch.export's .pt2, and weights as safetensors, each checked before it is kept.

What runs elsewhere is the pruned network with batch norm folded (`ean_core/deploy/fold.py`). What is checked is the
file: it is read again and must give what the network gives, on random images of several batch and image sizes.
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
from ean_core.inference.dynamic_pool import free_of_sizes
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.io.safetensors_file import write_safetensors
from ean_core.networks import StagedNetwork
from ean_core.utils.errors import EANError, first_line, unknown_name
from ean_core.utils.files import atomic_path
from ean_core.utils.optional_packages import require

TOLERANCE = 1e-4  # of the largest value of the output
NO_SIZE = 128  # pixels a side, of the images to check a network with that takes photos as they are
OUTPUTS = {
    "classifier": "(batch, classes): softmax gives probabilities",
    "counter": "(batch, 1, rows, columns), people per cell: the sum is the count",
    "segmentor": "(batch, classes, height, width), of the images' size: the largest is a pixel's class",
}
Run = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]  # (batch, height, width)


@dataclass(frozen=True)
class Sizes:
    """What images an exported network takes.

    Attributes:
        side: of the images that it was traced with, pixels.
        any_size: whether others may have other sides.
        least: pixels a side at least.
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
    """What was written, and how well it does.

    Attributes:
        path: the file.
        sizes: what batches and images it takes.
        difference: largest between the file's outputs and the network's, over all checks.
        relative: the largest, over the checks, of the difference by the largest magnitude in the network's output.
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


def export(opened: LoadedModel, target: str, directory: str | Path, *, tolerance: float = TOLERANCE) -> Report:
    """Write a network in another form, and check it.

    Args:
        opened: the network; it is not changed.
        target: a key of `TARGETS`.
        directory: where NAME.onnx, NAME.pt2 or NAME.safetensors goes, NAME being the network file's.
        tolerance: allowed difference, relative to the largest magnitude in the network's output.

    Raises:
        EANError: for an unknown target, a missing package, or a network that cannot be exported; or if the file does
            not give what the network gives, and then no file is left.
    """
    if target not in TARGETS:
        raise unknown_name("form", target, list(TARGETS))
    suffix, write = TARGETS[target]
    path = Path(directory) / f"{opened.path.stem}{suffix}"
    if path.absolute() == opened.path.absolute():
        raise EANError(f"{path} would be written over itself: give another --output-dir")
    with atomic_path(path) as temporary:
        sizes, words = write(opened, temporary)
        run = READERS[target](temporary, opened)
        shapes = shapes_of(opened, any_size=sizes.any_size, least=sizes.least)
        difference, relative = compare(opened, run, shapes)
        if not relative <= tolerance:  # NaN too
            raise EANError(
                f"{path.name} differs from the network by {difference:.2g}, relative {relative:.2g}, which is above "
                f"the tolerance of {tolerance:g}: no file was written"
            )
    return Report(path, words, difference, relative, shapes)


# -- what is exported -------------------------------------------------------------------------------------------------


def deployable(opened: LoadedModel) -> nn.Module:
    """A pruned copy with batch norm folded, on the CPU and in eval mode."""
    return fold_batch_norm(on_cpu(opened))


def on_cpu(opened: LoadedModel) -> nn.Module:
    """A copy of the network on the CPU and in eval mode."""
    return copy.deepcopy(opened.network).cpu().eval()


def facts(opened: LoadedModel, sizes: Sizes) -> dict[str, str]:
    """What whoever runs an exported network must know, as text: lists and numbers are JSON."""
    prepare, model = opened.prepare, opened.content["model"]
    plain = {
        "classes": list(opened.classes),
        "mean": list(prepare.mean),
        "std": list(prepare.std),
        "channels": prepare.channels,
        "image_size": prepare.size,
        "resize": prepare.resize,
        "fit": prepare.fit,
        "model": model,
    }
    if sizes.any_size:
        plain["least_size"] = sizes.least  # pixels a side
    words = {"kind": opened.kind, "arch": model["arch"], "attention": model.get("attention") or "none"}
    words["scheme"] = str(opened.trunk.scheme)
    words["output"] = f"{opened.output} {OUTPUTS[opened.kind]}"
    words["input"] = "RGB or grey values / 255, minus mean, by std, float32 (batch, channels, height, width)"
    return {**words, **{name: json.dumps(value) for name, value in plain.items()}}


def trace(opened: LoadedModel, *, any_size: bool) -> torch.export.ExportedProgram:
    """The deployable network as a graph for any batch, and for any image size or for the one it was trained on."""
    side = side_of(opened)
    example = torch.zeros(2, opened.prepare.channels, side, side)  # a batch of one would be taken for a constant
    free = torch.export.Dim.DYNAMIC
    network = Renamed(free_of_sizes(deployable(opened)) if any_size else deployable(opened))
    with quiet():
        return torch.export.export(
            network, (example,), dynamic_shapes={"images": {0: free, 2: free, 3: free} if any_size else {0: free}}
        )


class Renamed(nn.Module):
    """A network whose argument is called images, whatever its own calls it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> the network's output."""
        return self.network(images)


# -- the forms --------------------------------------------------------------------------------------------------------


def write_onnx(opened: LoadedModel, path: Path) -> tuple[Sizes, str]:
    """ONNX, with the facts as metadata; see `widest`."""
    require("onnx", "onnxscript", "onnxruntime", extra="export", what="the export to ONNX")
    import onnx

    def convert(program: torch.export.ExportedProgram) -> onnx.ModelProto:
        with quiet():
            done = torch.onnx.export(
                program, (), input_names=["images"], output_names=[opened.output], dynamo=True, verbose=False
            )
        return done.model_proto

    model, any_size = widest(opened, convert)
    name_axes(model)
    sizes = sizes_of(run_onnx(model.SerializeToString()), opened, any_size=any_size)
    onnx.helper.set_model_props(model, facts(opened, sizes))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return sizes, str(sizes)


def name_axes(model: Any) -> None:
    """Call the free axes batch, height and width, in place of the tracer's s77 and the like, wherever they come up."""
    axes = [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    names = {axes[place]: name for place, name in ((0, "batch"), (2, "height"), (3, "width")) if axes[place]}
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), axis.dim_param)


def read_onnx(path: Path, opened: LoadedModel) -> Run:
    """The file in ONNX Runtime."""
    return run_onnx(path.read_bytes())


def run_onnx(content: bytes) -> Run:
    """A file's content in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def write_torch(opened: LoadedModel, path: Path) -> tuple[Sizes, str]:
    """torch.export's archive, with the facts in it as facts.json; see `widest`.

    The tracer takes for granted that no map on the way has a side of 1, and the program refuses smaller images with a
    formula. The least side is found by trying and written into the program, which then names it.
    """

    def save(program: torch.export.ExportedProgram) -> tuple[bytes, Sizes]:
        (images,) = (node for node in program.graph.nodes if node.op == "placeholder" and node.name == "images")
        sides = images.meta["val"].shape[2:]
        sizes = sizes_of(program.module(), opened, any_size=isinstance(sides[0], torch.SymInt))
        for side in sides if sizes.least > 1 else ():
            known = program.range_constraints[side.node.expr]
            program.range_constraints[side.node.expr] = type(known)(sizes.least, known.upper)
        buffer = io.BytesIO()  # writing to a file, PyTorch aborts the process on a full disk
        with quiet():
            torch.export.save(program, buffer, extra_files={"facts.json": json.dumps(facts(opened, sizes))})
        return buffer.getvalue(), sizes

    (archive, sizes), _ = widest(opened, save)
    path.write_bytes(archive)
    return sizes, str(sizes)


def read_torch(path: Path, opened: LoadedModel) -> Run:
    """The archive, loaded."""
    return torch.export.load(path).module()


def write_weights(opened: LoadedModel, path: Path) -> tuple[Sizes, str]:
    """The pruned network's weights, batch norm not folded, so that they can be trained on."""
    write_safetensors(path, *as_content(opened))
    return Sizes(side_of(opened)), "weights with scheme, recipe and classes"


def as_content(opened: LoadedModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights, and what a network file says besides, of the pruned network."""
    content, network = dict(opened.content), opened.network
    if "pruned" in content["model"]:
        assert isinstance(network, StagedNetwork)
        scheme = network.scheme.text if content["model"].get("attention") else None
        content["model"] = {**content["model"], "scheme": scheme, "pruned": True}
        network = network.prune()
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, content


def read_weights(path: Path, opened: LoadedModel) -> Run:
    """The network that the file builds, for a segmentor with its config."""
    return load_file(path, device="cpu", config=opened.config).network


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


def widest(opened: LoadedModel, convert: Callable[[torch.export.ExportedProgram], Any]) -> tuple[Any, bool]:
    """The conversion for any image size or, where the network does not allow it, for the one it was trained on.

    Returns:
        what was made, and whether it takes any image size.

    Raises:
        EANError: if neither works.
    """
    try:
        return convert(trace(opened, any_size=True)), True
    except Exception:  # the tracer and the converter raise many kinds; a second failure is reported
        pass
    try:
        return convert(trace(opened, any_size=False)), False
    except EANError:  # of the network itself, which says it better
        raise
    except Exception as error:
        raise EANError(
            f"{opened.path} cannot be exported ({type(error).__name__}: {first_line(error)}): its attention or its "
            "layout is beyond torch.export"
        ) from error


# -- checking ---------------------------------------------------------------------------------------------------------


def shapes_of(opened: LoadedModel, *, any_size: bool, least: int | None = None) -> tuple[Shape, ...]:
    """(batch, height, width) to check with: several batches, and odd and unequal sides where sizes are free."""
    side = side_of(opened)
    own = (1, side, side), (3, side, side)
    small = () if least is None else ((2, least, least), (1, least, side))
    return (*own, (2, side + side // 4 + 1, side), (5, side, side + side // 2 + 3), *small) if any_size else own


def sizes_of(run: Run, opened: LoadedModel, *, any_size: bool) -> Sizes:
    """What images an exported network takes, with the least side, found by trying."""
    side = side_of(opened)
    if not any_size:
        return Sizes(side, any_size=False)
    return Sizes(side, least=1 + bisect_left(range(1, side), True, key=lambda one: runs(run, opened, one)))


def runs(run: Run, opened: LoadedModel, side: int) -> bool:
    """Whether an exported network takes an image of this side."""
    try:
        run(torch.zeros(1, opened.prepare.channels, side, side))
    except Exception:  # torch's guards raise AssertionError, ONNX Runtime kinds of its own
        return False
    return True


def side_of(opened: LoadedModel) -> int:
    """Pixels a side of the images that a network is traced and checked with first."""
    return opened.prepare.size or NO_SIZE


@torch.inference_mode()
def compare(opened: LoadedModel, run: Run, shapes: tuple[Shape, ...]) -> tuple[float, float]:
    """Largest difference of `run` from the network on random images, and relative to the network's largest output."""
    network = on_cpu(opened)
    generator = torch.Generator().manual_seed(0)
    differences, relative = [], []
    for batch, height, width in shapes:
        images = torch.randn(batch, opened.prepare.channels, height, width, generator=generator)
        wanted, got = network(images), run(images)
        if wanted.shape != got.shape:
            raise EANError(
                f"the exported network gives {tuple(got.shape)} where the network gives {tuple(wanted.shape)}"
            )
        difference = (wanted - got).abs().max().item()
        differences.append(difference)
        relative.append(difference / max(wanted.abs().max().item(), 1e-12))
    return worst(differences), worst(relative)


def worst(values: list[float]) -> float:
    """The largest, or NaN if one is: Python's max would lose it."""
    return torch.tensor(values, dtype=torch.float64).max().item()


@contextmanager
def quiet() -> Any:
    """Without the tracer's and the converter's remarks on their own internals."""
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
