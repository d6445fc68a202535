"""How a device runs a training step, where a recipe leaves it open: chosen when a run starts, and printed.

Memory format, CUDA graph and compiler change the time of a step, and its result by no more than rounding. So they are
no part of a run's identity (`ean_core.training.run_lock`): a run may go on with others, as it may on another device.
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

from ean_core.training.schedule import TrainSettings
from ean_core.utils.devices import has_bfloat16, prefers_channels_last
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError

SMALL_IMAGE = 64
"""Pixels a side up to which a GPU finishes kernels faster than they are launched, so that a graph pays."""
SCORING_BATCH = 2000
"""Small images per forward pass that keep a GPU busy while it scores."""

Recipe = TypeVar("Recipe")


@dataclass(frozen=True)
class Placement:
    """Where a run takes place.

    Attributes:
        device: its type: "cuda", "cpu", ..
        image_size: the longer side of its images, in pixels.
        processes: that train together.
        channels_last: whether it prefers that memory format without being asked to.
        bfloat16: whether it multiplies bfloat16 itself.
        compiler: whether torch.compile finds what it needs for this device.
    """

    device: str
    image_size: int
    processes: int = 1
    channels_last: bool = False
    bfloat16: bool = False
    compiler: bool = False

    @classmethod
    def here(cls, image_size: int) -> Placement:
        """This process's device, for images of this side."""
        device = torch.device(get_device()).type
        world = rank_and_world()[1]
        return cls(device, image_size, world, prefers_channels_last(device), has_bfloat16(device), has_compiler(device))

    @property
    def graph_pays(self) -> bool:
        """Whether a step is better launched as one CUDA graph; several processes have none."""
        return self.device == "cuda" and self.processes == 1 and self.image_size <= SMALL_IMAGE


def has_compiler(device: str) -> bool:
    """Whether torch.compile finds what makes a device's code: Triton with a C compiler on GPUs, else a C++ compiler."""
    if device == "cuda":
        return find_spec("triton") is not None and any(
            map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))
        )
    return shutil.which(os.environ.get("CXX") or "g++") is not None  # as TorchInductor looks for it


def no_compiler(section: str, device: str) -> str:
    """The sentence for a section that is to be compiled where nothing can."""
    needs = (
        "Triton and a C compiler (gcc)" if device == "cuda" else f"a C++ compiler ({os.environ.get('CXX') or 'g++'})"
    )
    return (
        f"{section}.compile=True needs {needs}, which is not found: install it (apt install g++, or set CXX to another "
        f"one), or leave {section}.compile out"
    )


def for_device(recipe: Recipe, placement: Placement, *, fast: bool = False, given: Collection[str] = ()) -> Recipe:
    """A recipe whose training sections leave nothing open.

    Without `fast` a CPU keeps to the plain step, so that a recipe gives the numbers there that it always gave.

    Args:
        recipe: a dataclass with fields that are `TrainSettings`, and perhaps `search`.
        placement: where it runs.
        fast: also take bfloat16, compiled blocks for large images, and a larger `search.batch_size`, where they pay.
        given: dotted names of fields that the user set, which `fast` leaves alone.

    Raises:
        EANError: if a section is to be compiled, and there is no compiler.
    """
    changes: dict[str, Any] = {}
    for one in dataclasses.fields(recipe):  # type: ignore[arg-type]
        section = getattr(recipe, one.name)
        if isinstance(section, TrainSettings):
            chosen = fastest(placement, sandwich=getattr(section, "sandwich", False)) if fast else {}
            chosen = {name: value for name, value in chosen.items() if f"{one.name}.{name}" not in given}
            changes[one.name] = fill_in(dataclasses.replace(section, **chosen), placement)
            if changes[one.name].compile and not placement.compiler:  # else it shows after hours of other work
                raise EANError(no_compiler(one.name, placement.device))
    search = getattr(recipe, "search", None)
    busy = placement.device == "cuda" and placement.image_size <= SMALL_IMAGE
    if fast and busy and search is not None and "search.batch_size" not in given:
        changes["search"] = dataclasses.replace(search, batch_size=max(search.batch_size, SCORING_BATCH))
    return dataclasses.replace(recipe, **changes)  # type: ignore[type-var]


def fill_in(settings: TrainSettings, placement: Placement) -> TrainSettings:
    """The settings with a choice in place of every None that stands for 'as this device likes it'."""
    channels_last, graph = settings.channels_last, settings.cuda_graph
    if channels_last is None:
        channels_last = placement.channels_last
    if graph is None:
        graph = placement.graph_pays and not settings.compile
    return dataclasses.replace(settings, channels_last=channels_last, cuda_graph=graph)


def fastest(placement: Placement, *, sandwich: bool = False) -> dict[str, Any]:
    """Fields of `TrainSettings` that make a step fast; a sandwich's several paths are no graph."""
    graph = placement.graph_pays and not sandwich
    return {
        "precision": "bfloat16" if placement.bfloat16 else "float32",
        "channels_last": placement.device == "cpu" or placement.channels_last,
        "cuda_graph": graph,
        "compile": placement.device == "cuda" and not graph and placement.compiler,
    }


def describe(recipe: object, placement: Placement) -> str:
    """One line: how the training sections run."""
    said: dict[str, list[str]] = {}
    for one in dataclasses.fields(recipe):  # type: ignore[arg-type]
        section = getattr(recipe, one.name)
        if isinstance(section, TrainSettings):
            said.setdefault(how(section, placement), []).append(one.name)
    return "; ".join(f"{' and '.join(names)} in {text}" for text, names in said.items())


def how(settings: TrainSettings, placement: Placement) -> str:
    """A section's precision, layout, and what runs its step."""
    words = [settings.precision, "channels_last" if settings.channels_last else "channels_first"]
    words += ["compiled"] if settings.compile else []
    if settings.cuda_graph and placement.device == "cuda" and placement.processes == 1:
        words.append("a CUDA graph a step")
    return ", ".join(words)
