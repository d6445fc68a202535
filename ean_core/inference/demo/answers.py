"""What the page of `tools/demo.py` answers to a photo: each network's result, its picture, its scheme and its time."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ean_core.benchmark.timing import Timing, device_clock, increment, measure, median_interval
from ean_core.data.read_image import read_image
from ean_core.inference.explain.gallery import explain_image, visible_pixels
from ean_core.inference.explain.grid import overlay
from ean_core.inference.explain.targets import class_label
from ean_core.inference.loaded_model import LoadedModel, label_files
from ean_core.inference.predictor import Predictor
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval

MAX_BYTES = 25_000_000
MAX_PIXELS = 50_000_000
TOPK = 3
TIMING_SECONDS = 2.0
"""How long the networks are timed with a photo, unless `MIN_ROUNDS` take longer."""
MIN_ROUNDS, MAX_ROUNDS = 5, 30


@dataclass(frozen=True, eq=False)
class Answer:
    """What one network makes of a photo.

    Attributes:
        name: a short name of the network, unlike those beside it.
        network: architecture, attention and connections, in words.
        result: what it finds, in words.
        picture: uint8 (H, W, 3): the photo with what it finds drawn over it.
        bits: per stage whether each block is connected to attention; None for a network without attention.
        seconds: of a forward pass of this photo, the median and its 95 % interval.
        increment: Eq. 9 against the first network, as a fraction; None for that one.
    """

    name: str
    network: str
    result: str
    picture: np.ndarray
    bits: tuple[tuple[int, ...], ...] | None
    seconds: Interval
    increment: Interval | None


def read_upload(path: str | Path, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read an uploaded photo, and delete the file.

    Raises:
        EANError: if it is too large, or cannot be decoded.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise EANError(
                f"{path.name} has {size / 1e6:,.1f} MB where at most {max_bytes / 1e6:,.0f} MB are taken: give a "
                "smaller photo"
            )
        content = io.BytesIO(path.read_bytes())
    finally:
        path.unlink(missing_ok=True)
    content.name = path.name  # for messages
    return read_image(content, max_pixels=max_pixels)


def answer(models: Sequence[LoadedModel], image: Image.Image) -> list[Answer]:
    """What networks of one kind make of a photo, each with its time on this machine.

    Args:
        models: at least one; the first is what the times of the others are compared with. All classifiers' Grad-CAM is
            of the class that the first one finds most probable.
        image: RGB.

    Raises:
        EANError: if the photo does not suit one of them.
    """
    shown = classify(models, image) if models[0].kind == "classifier" else [show(model, image) for model in models]
    names = label_files([model.path for model in models])
    times = forward_times(dict(zip(names, models, strict=True)), image)
    reference = times[names[0]]
    return [
        Answer(
            name=name,
            network=model.describe(),
            result=result,
            picture=picture,
            bits=connections(model),
            seconds=median_interval(times[name]),
            increment=increment(times[name], reference) if number else None,
        )
        for number, (name, model, (result, picture)) in enumerate(zip(names, models, shown, strict=True))
    ]


def show(model: LoadedModel, image: Image.Image) -> tuple[str, np.ndarray]:
    """What a counter or a segmentor finds, in words and drawn over the photo."""
    assert model.make_predictor is not None, "every kind but classifiers has one"
    return model.make_predictor(model).show(image)


def classify(models: Sequence[LoadedModel], image: Image.Image) -> list[tuple[str, np.ndarray]]:
    """The classes that classifiers find most probable, and their Grad-CAM over what they see of the photo."""
    guesses = [Predictor(model).predict(image, topk=TOPK) for model in models]
    results = [
        ", ".join(f"{class_label(guess.name)}: {100 * guess.probability:.0f} %" for guess in of) for of in guesses
    ]
    row, _ = explain_image(models, "photo", image, None, target=None, stage=-1)
    return list(zip(results, map(overlay, row.seen, row.heat), strict=True))


def connections(model: LoadedModel) -> tuple[tuple[int, ...], ...] | None:
    """The bits of a network's scheme, stage by stage; None without attention."""
    if not model.content["model"].get("attention") or not hasattr(model.trunk, "stages"):
        return None
    return tuple(tuple(stage.bits) for stage in model.trunk.stages)


@torch.inference_mode()
def forward_times(models: Mapping[str, LoadedModel], image: Image.Image) -> dict[str, Timing]:
    """Time the forward pass of a photo by each network, in turns; photos above 2048 pixels a side are reduced."""
    inputs = {name: model.inputs([visible_pixels(model, image)[0]]) for name, model in models.items()}
    forwards = {name: partial(forward, model, inputs[name]) for name, model in models.items()}
    clock = device_clock(next(iter(models.values())).device)
    first = measure(forwards, None, rounds=1, warmup=1, inner=1, clock=clock)
    a_round = sum(timing.median for timing in first.values())
    rounds = min(max(math.ceil(TIMING_SECONDS / max(a_round, 1e-9)), MIN_ROUNDS), MAX_ROUNDS)
    return measure(forwards, None, rounds=rounds, warmup=0, clock=clock)


def forward(model: LoadedModel, inputs: torch.Tensor, _: object) -> torch.Tensor:
    """A forward pass, with the last argument that `measure` gives."""
    return model.network(inputs)
