"""The formats of an export, each with its writer and its reader: ONNX, torch.export's .pt2, and safetensors.

A writer takes a loaded network and a path; a reader gives the file back as a function from images to outputs, by which
`ean_core/inference/export.py` checks it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ean_core.inference.export_tracing import Run, Sizes, quiet, side_of, sizes_of, widest
from ean_core.inference.loaded_model import LoadedModel, load_file
from ean_core.io.safetensors_file import write_safetensors
from ean_core.networks import StagedNetwork
from ean_core.utils.optional_packages import require

OUTPUTS = {
    "classifier": "(batch, classes): softmax gives probabilities",
    "counter": "(batch, 1, rows, columns), people per cell: the sum is the count",
    "segmentor": "(batch, classes, height, width), of the images' size: the largest is a pixel's class",
}


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    Attributes:
        suffix: of its files.
        write: writes the network to a path; gives the image sizes that the file takes, and what to print of them.
        read: loads such a file. The network is for a segmentor, whose weights need its config.
    """

    suffix: str
    write: Callable[[LoadedModel, Path], tuple[Sizes, str]]
    read: Callable[[Path, LoadedModel], Run]


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
    texts["input"] = "RGB or gray values / 255, minus mean, by std, float32 (batch, channels, height, width)"
    return {**texts, **{name: json.dumps(value) for name, value in values.items()}}


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


FORMATS = {
    "onnx": Format(".onnx", write_onnx, read_onnx),
    "torch": Format(".pt2", write_torch, read_torch),
    "safetensors": Format(".safetensors", write_weights, read_weights),
}
