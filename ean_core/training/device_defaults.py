"""Device-dependent defaults of a training step, chosen and printed when a run starts.

Memory format, CUDA graph and compiler change the speed of a step, and its result only by rounding. So they are not part
of a run's identity (`ean_core.training.work_dir`): a run may resume with others, or on another device.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from mmengine.device import get_device

from ean_core.training.settings import TrainSettings
from ean_core.utils.devices import has_bfloat16, prefers_channels_last
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError

SMALL_IMAGE = 64
"""Image side in pixels up to which a step is bound by kernel launches, so that a CUDA graph pays off."""
SCORING_BATCH = 2000
"""Batch size of small images that keeps a GPU busy while scoring."""

Recipe = TypeVar("Recipe")


@dataclass(frozen=True)
class Placement:
    """The hardware of a run.

    Attributes:
        device: device type: "cuda", "cpu", ..
        image_size: the longer side of the images, in pixels.
        processes: number of processes that train together.
        channels_last: whether that memory format is the default.
        bfloat16: whether the device supports bfloat16 natively.
        compiler: whether torch.compile has the compilers it needs.
    """

    device: str
    image_size: int
    processes: int = 1
    channels_last: bool = False
    bfloat16: bool = False
    compiler: bool = False

    @classmethod
    def current(cls, image_size: int) -> Placement:
        """The current process's hardware, for images of this side in pixels."""
        device = torch.device(get_device()).type
        world = rank_and_world()[1]
        return cls(device, image_size, world, prefers_channels_last(device), has_bfloat16(device), has_compiler(device))

    @property
    def graph_pays(self) -> bool:
        """Whether a CUDA graph makes a step faster; several processes cannot use one."""
        return self.device == "cuda" and self.processes == 1 and self.image_size <= SMALL_IMAGE


def has_compiler(device: str) -> bool:
    """Whether torch.compile has the compilers it needs: Triton and a C compiler on GPUs, a C++ compiler on CPUs."""
    if device == "cuda":
        return find_spec("triton") is not None and any(
            map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))
        )
    return shutil.which(os.environ.get("CXX") or "g++") is not None  # as TorchInductor looks for it


def no_compiler(section: str, device: str) -> str:
    """The error message if a section sets `compile` without a compiler."""
    needs = (
        "Triton and a C compiler (gcc)" if device == "cuda" else f"a C++ compiler ({os.environ.get('CXX') or 'g++'})"
    )
    return (
        f"{section}.compile=True needs {needs}, which is not found: install it (apt install g++, or set CXX to another "
        f"one), or leave {section}.compile out"
    )


def for_device(recipe: Recipe, placement: Placement, *, fast: bool = False, user_set: Collection[str] = ()) -> Recipe:
    """Fill in the device-dependent settings of a recipe's training sections.

    Without `fast`, a CPU uses the plain step, so that a recipe reproduces its numbers there.

    Args:
        recipe: a dataclass with `TrainSettings` fields, and perhaps `search`.
        placement: the hardware.
        fast: also use bfloat16, compiled blocks for large images, and a larger `search.batch_size`, where they help.
        user_set: dotted names of fields set by the user, which `fast` does not change.

    Raises:
        EANError: if a section sets `compile`, but there is no compiler.
    """
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(recipe):  # type: ignore[arg-type]
        section = getattr(recipe, field.name)
        if isinstance(section, TrainSettings):
            chosen = fastest(placement, sandwich=getattr(section, "sandwich", False)) if fast else {}
            chosen = {name: value for name, value in chosen.items() if f"{field.name}.{name}" not in user_set}
            changes[field.name] = fill_in(dataclasses.replace(section, **chosen), placement)
            if changes[field.name].compile and not placement.compiler:  # not only after hours of work
                raise EANError(no_compiler(field.name, placement.device))
    search = getattr(recipe, "search", None)
    busy = placement.device == "cuda" and placement.image_size <= SMALL_IMAGE
    if fast and busy and search is not None and "search.batch_size" not in user_set:
        changes["search"] = dataclasses.replace(search, batch_size=max(search.batch_size, SCORING_BATCH))
    return dataclasses.replace(recipe, **changes)  # type: ignore[type-var]


def fill_in(settings: TrainSettings, placement: Placement) -> TrainSettings:
    """Replace every None by the default of the device."""
    channels_last, graph = settings.channels_last, settings.cuda_graph
    if channels_last is None:
        channels_last = placement.channels_last
    if graph is None:
        graph = placement.graph_pays and not settings.compile
    return dataclasses.replace(settings, channels_last=channels_last, cuda_graph=graph)


def fastest(placement: Placement, *, sandwich: bool = False) -> dict[str, Any]:
    """Fields of `TrainSettings` for the fastest step; the sandwich rule's several paths cannot use a graph."""
    graph = placement.graph_pays and not sandwich
    return {
        "precision": "bfloat16" if placement.bfloat16 else "float32",
        "channels_last": placement.device == "cpu" or placement.channels_last,
        "cuda_graph": graph,
        "compile": placement.device == "cuda" and not graph and placement.compiler,
    }


def describe(recipe: object, placement: Placement) -> str:
    """One line on how the training sections run: precision, memory format, compiler, CUDA graph."""
    sections: dict[str, list[str]] = {}
    for field in dataclasses.fields(recipe):  # type: ignore[arg-type]
        section = getattr(recipe, field.name)
        if isinstance(section, TrainSettings):
            sections.setdefault(describe_settings(section, placement), []).append(field.name)
    return "; ".join(f"{' and '.join(names)} in {text}" for text, names in sections.items())


def describe_settings(settings: TrainSettings, placement: Placement) -> str:
    """A section's precision, memory format, and compiler or CUDA graph."""
    features = [settings.precision, "channels_last" if settings.channels_last else "channels_first"]
    features += ["compiled"] if settings.compile else []
    if settings.cuda_graph and placement.device == "cuda" and placement.processes == 1:
        features.append("one CUDA graph per step")
    return ", ".join(features)
