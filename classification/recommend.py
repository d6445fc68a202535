"""A sensible recipe for somebody's own images, from their number, their size and the device; a rule, no science.

The number of epochs follows from a budget of image passes (`_PASSES`), a guess at what two CPU cores do in minutes and
one GPU in hours; neither it nor accuracy was tuned, and every number can be replaced with --cfg-options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ean_core.training.device_defaults import SCORING_BATCH, SMALL_IMAGE
from ean_core.utils.text import how_many

VAL_FRACTION = 0.2  # of each class's training images, for scoring schemes

# (up to this shorter side, architecture, crop side, cost of an image relative to the first row); the first that fits.
_ON_CPU = ((40, "resnet20", 32, 1), (80, "resnet20", 48, 2), (None, "resnet18_nobias", 96, 8))
_ON_GPU = ((40, "resnet56", 32, 3), (80, "resnet56", 64, 12), (160, "resnet18_nobias", 128, 15))
_LARGE_ON_GPU = {True: ("resnet50_nobias", 224, 100), False: ("resnet18_nobias", 224, 45)}  # many images: yes or no
_MANY = 5000
_PASSES = {"cpu": 200_000, "cuda": 60_000_000}  # images times epochs times cost, of one training


@dataclass(frozen=True)
class Facts:
    """What the recommendation depends on.

    Attributes:
        train_images: without the test part.
        smallest_class: training images of the class that has fewest.
        side: median length of the images' shorter sides, in pixels.
        device: "cpu" or "cuda".
        processors: of this machine.
        bfloat16: whether a GPU multiplies bfloat16 itself.
    """

    train_images: int
    smallest_class: int
    side: int
    device: str
    processors: int
    bfloat16: bool = True


def recommend(facts: Facts, *, name: str) -> dict[str, Any]:
    """The sections of a recipe, as plain dictionaries.

    Args:
        facts: of the images and the machine.
        name: of the recipe.
    """
    device = "cuda" if facts.device == "cuda" else "cpu"
    arch, crop, cost = choose_network(facts.side, device, many=facts.train_images > _MANY)
    batch = batch_size(facts.train_images, largest=256 if device == "cuda" and crop <= 64 else 128)
    epochs = min(max(round(_PASSES[device] / cost / facts.train_images), 10), 100)
    small = facts.side <= 80 and facts.train_images <= 2000
    training = {
        "epochs": epochs,
        "batch_size": batch,
        "lr": round(0.1 * batch / 128, 4),
        "schedule": "cosine",
        "nesterov": True,
        "weight_decay": 5e-4,
        "precision": "bfloat16" if device == "cuda" and facts.bfloat16 else "float32",
        "channels_last": device == "cpu" or facts.bfloat16,
        "cuda_graph": device == "cuda" and crop <= SMALL_IMAGE,
    }
    return {
        "name": name,
        "model": {"arch": arch, "attention": "se"},
        "data": {
            "name": "folder",
            "image_size": crop,
            "val_fraction": VAL_FRACTION,
            "workers": 0 if small else max(1, min(8, facts.processors)),
        },
        "supernet": dict(training),
        "search": {
            "method": "ean",
            "steps": 500 if device == "cuda" else 200,
            "max_evaluations": 300 if device == "cuda" else 100,
            "batch_size": SCORING_BATCH if device == "cuda" and crop <= SMALL_IMAGE else 250,
        },
        "train": dict(training),
        "retrain": ["org", "share-full", "ean"],
        "note": "A recipe chosen by a rule for these images; its search and training settings were not tuned.",
    }


def architectures(device: str) -> tuple[str, ...]:
    """Those that `choose_network` may choose on a device, "cpu" or "cuda"."""
    rows = (*_ON_GPU, *((None, *large) for large in _LARGE_ON_GPU.values())) if device == "cuda" else _ON_CPU
    return tuple(dict.fromkeys(row[1] for row in rows))


def choose_network(side: int, device: str, *, many: bool) -> tuple[str, int, int]:
    """(architecture, crop side, cost) for images of this shorter side."""
    for limit, arch, crop, cost in _ON_GPU if device == "cuda" else _ON_CPU:
        if limit is None or side <= limit:
            return arch, crop, cost
    return _LARGE_ON_GPU[many]


def batch_size(images: int, *, largest: int) -> int:
    """A power of two that gives ten steps an epoch or more, from 8 to `largest`."""
    size = 8
    while size * 2 <= min(largest, images / 10):
        size *= 2
    return size


def as_text(values: dict[str, Any], *, comment: str) -> str:
    """The recipe as a configuration file.

    The file is a program, and names of folders are in it: none of them may become code.
    """
    lines = [f"# {comment if comment.isprintable() else repr(comment)}"]
    for key, value in values.items():
        pairs = value.items() if isinstance(value, dict) else ()
        shown = f"dict({', '.join(f'{name}={field!r}' for name, field in pairs)})" if pairs else repr(value)
        lines.append(f"{key} = {shown}")
    return "\n".join(lines).replace("{{", r"{\x7b") + "\n"  # MMEngine replaces {{ .. }} before it reads the file


def one_line(values: dict[str, Any]) -> str:
    """What a user wants to see of it before it runs."""
    model, train, search = values["model"], values["train"], values["search"]
    return (
        f"{model['arch']} with {model['attention']}, crop {values['data']['image_size']}, batch {train['batch_size']}, "
        f"{how_many(train['epochs'], 'epoch')}, lr {train['lr']}, {how_many(search['steps'], 'search step')}, "
        f"{train['precision']}"
    )
