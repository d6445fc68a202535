"""Trained models that come with the project, each with what it was trained on, how good it is, and what it is not for.

A model is NAME.safetensors in `ean_core/trained/`: a network file of any task whose content also has "about".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from ean_core.data.find_images import SUFFIXES
from ean_core.inference.count_errors import CountErrors
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import SUFFIX, read_description, write_safetensors
from ean_core.utils import shipped_files
from ean_core.utils.checked_dataclasses import Range, checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import atomic_path
from ean_core.utils.screen import say

Sentence = Annotated[str, Range(1)]
Task = Literal["classifier", "counter", "segmentor"]


@dataclass(frozen=True)
class About:
    """What a user of a trained model must know.

    Attributes:
        task: what it does.
        trained_on: the training images, such as "CIFAR-100, all 50,000 training images".
        tested_on: the test images that the metrics are of.
        metrics: name with its unit -> value, such as "MAE, people" -> 98.2.
        limits: a sentence: where it should not be used.
        license: of the data that it was trained on.
        record: name of the record of its training, in results/.
        config: of a segmentor, a path in this project such as segmentation/configs/NAME.py.
        count_errors: of a counter, by the number of people: the figures that crowd_counting/test.py records.
    """

    task: Task
    trained_on: Sentence
    tested_on: Sentence
    metrics: Mapping[str, float]
    limits: Sentence
    license: Sentence
    record: Sentence
    config: str | None = None
    count_errors: CountErrors | None = None


@dataclass(frozen=True)
class ShippedModel:
    """A trained model that comes with the project; `str()` gives all that is known of it, in lines.

    Attributes:
        name: for `ean_core.load`, and for every command that takes a checkpoint.
        path: of the file.
        network: architecture, attention and scheme.
        about: data, figures and limits.
    """

    name: str
    path: Path
    network: str
    about: About

    @property
    def notice(self) -> str:
        """A paragraph for whoever sees its results: figures, data and limits."""
        about = self.about
        return f"{self.name}: {self.figures}; trained on {about.trained_on}. {about.limits}"

    @property
    def figures(self) -> str:
        """The metrics, and the test images that they are of."""
        metrics = ", ".join(figure(name, value) for name, value in self.about.metrics.items())
        return f"{metrics} on {self.about.tested_on}"

    def __str__(self) -> str:
        about = self.about
        lines = [
            f"{self.name}: {about.task}, {self.network}, {self.path.stat().st_size / 1e6:.1f} MB",
            f"tested: {self.figures}",
            f"trained on: {about.trained_on}",
            f"limits: {about.limits}",
            *([f"errors: {about.count_errors}"] if about.count_errors else []),
            f"license of the data: {about.license}",
            f"record: {about.record}",
        ]
        return "\n  ".join(lines)

    @property
    def errors(self) -> str:
        """How far off a counter is by the number of people; "" where that is not known."""
        errors = self.about.count_errors
        return f"Errors of {self.name}: {errors}." if errors else ""


def figure(name: str, value: float) -> str:
    """A metric in words: "MAE 73.4 people" for "MAE, people"."""
    name, _, unit = name.partition(", ")
    return f"{name} {value:g} {unit}".rstrip()


def models() -> list[ShippedModel]:
    """The trained models that come with the project, by name; see `ean_core.load`.

    Raises:
        EANError: if a file is damaged.
    """
    return [read_model(path) for path in sorted(shipped_files.MODELS.glob(f"*{SUFFIX}"))]


def read_model(path: Path) -> ShippedModel:
    """Describe a shipped model, without reading its weights.

    Raises:
        EANError: if the file is damaged, or does not say what a user must know.
    """
    content = read_description(path)
    about = checked(About, content.get("about"), where=f"{path}: about", advice="install the project again")
    model = content.get("model") or {}
    parts = [model.get("arch"), model.get("attention") or "no attention"]
    parts += [f"scheme {model['scheme']}"] if model.get("scheme") else []
    return ShippedModel(path.stem, path, ", ".join(map(str, parts)), about)


def find_model(name: str | Path) -> ShippedModel | None:
    """The shipped model that a checkpoint argument names; None for a file."""
    path = shipped_files.model_path(name)
    return read_model(path) if path.parent == shipped_files.MODELS else None


def announce_model(name: str | Path) -> ShippedModel | None:
    """Find the shipped model that a checkpoint argument names, and print what its user must know; None for a file."""
    model = find_model(name)
    if model is not None:
        say(model.notice)
    return model


def default_model(task: Task) -> str:
    """The name of the first shipped model for a task.

    Raises:
        EANError: if none comes with the project.
    """
    for model in models():
        if model.about.task == task:
            return model.name
    raise EANError(f"no trained {task} comes with this version: give the checkpoint of one before the images")


def split_sources(
    checkpoint: str | None, sources: list[str], *, task: Task, endings: Sequence[str] = ()
) -> tuple[str, list[str]]:
    """The checkpoint and the images of a command whose user may leave out the checkpoint.

    Args:
        checkpoint: the first of the positional arguments; an image or a folder if the checkpoint was left out.
        sources: the other ones.
        task: whose shipped model is taken without a checkpoint.
        endings: of files that the command takes besides images.

    Raises:
        EANError: if there is neither a checkpoint nor a shipped model, or an argument is empty.
    """
    if any(not name.strip() for name in (*sources, checkpoint or "-")) or checkpoint == "":
        raise EANError("an argument is empty, as from an unset variable: give the path of an image or checkpoint")
    if checkpoint is not None:
        path = Path(checkpoint)
        if not (path.is_dir() or path.suffix.lower() in (*SUFFIXES, *endings)):
            return checkpoint, sources
    return default_model(task), sources if checkpoint is None else [checkpoint, *sources]


def ship(source: str | Path, name: str, about: About, *, half: bool = True) -> Path:
    """Make a shipped model of a network file, for `ean_core/trained/`.

    Args:
        source: a .pth or .safetensors of this project; a segmentor as the .safetensors of `tools/export.py`.
        name: of the model, such as "counter-shanghaitech-a".
        about: data, figures and limits.
        half: store weights of two and more dimensions as float16; they are read as float32.

    Returns:
        the file.
    """
    checked(About, asdict(about), where=f"the description of {name}", advice="give what is missing")
    content = load_tensors(source)
    weights = {key: reduce(value) if half else value for key, value in content.pop("state_dict").items()}
    content = json.loads(json.dumps({**content, "about": asdict(about)}, default=str))
    path = shipped_files.MODELS / f"{name}{SUFFIX}"
    with atomic_path(path) as temporary:
        write_safetensors(temporary, weights, content)
    return path


def reduce(value: Tensor) -> Tensor:
    """A float32 matrix or kernel as float16; vectors, such as batch norm's variances, keep their range."""
    return value.half().contiguous() if value.dtype == torch.float32 and value.ndim > 1 else value.contiguous()
