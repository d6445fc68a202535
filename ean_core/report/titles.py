"""Headings in words: what a record is of, from its settings or, where these do not say, from its file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from ean_core.report.results import Record
from ean_core.utils.text import attention_label, how_many

DATA = {"cifar100": "CIFAR-100", "imagenet": "ImageNet", "digits": "scikit-learn's digits", "folder": "own images"}
PARTS = {"part_A": "ShanghaiTech A", "part_B": "ShanghaiTech B", "part_demo": "synthetic crowds"}
WORDS = {
    **DATA,
    "cifar": "CIFAR-100",
    "cpu": "on a CPU",
    "ean": "EAN",
    "figure4": "Figure 4",
    "figure5": "Figure 5",
    "gpu": "on a GPU",
    "gradcam": "Grad-CAM",
    "r20": "ResNet-20",
    "r29": "ResNet-29",
    "voc": "VOC",
    "why": "an ablation",
    **{name: attention_label(name) for name in ("se", "sge", "dia")},
}
"""Parts of file names -> how a sentence has them."""
SPEEDS = {
    "allocators": "Memory allocators",
    "counting_prediction": "Counting in large images",
    "decoding": "Decoding and resizing images",
    "density": "Making density maps",
    "network": "Inference",
    "processes": "Several processes",
    "scoring": "Scoring schemes",
    "segmentation": "Segmenting large images",
    "training": "Training steps",
}
"""Scripts of benchmarks/, as their records' names have them -> what they measure."""


def arch_title(arch: str) -> str:
    """An architecture as papers write it: "ResNet-164", "EfficientNet-Lite0"; other names stay as they are."""
    arch = re.sub(r"^timm:tf_efficientnet_lite(\d)$", r"EfficientNet-Lite\1", arch)
    return re.sub(r"^resnet(\d+)", r"ResNet-\1", arch)


def words_of(name: str) -> str:
    """A file's name as words: "counting part A ResNet-29 EAN" for `counting_part_A_r29_ean`."""
    text = " ".join(WORDS.get(part, part) for part in re.split(r"[_\s]+", name.replace(".", ", ").strip()) if part)
    text = re.sub(r"\bsubset(\d+)k\b", r"\1,000 images", text)
    text = re.sub(r"\b(\d+)ep\b", r"\1 epochs", text)
    return re.sub(r"\bresnet(\d{2,3})\b", r"ResNet-\1", text)


def crowd_title(name: str) -> str:
    """A crowd data set as a heading has it: "ShanghaiTech A and ShanghaiTech B" for `part_A+part_B`."""
    return " and ".join(PARTS.get(part, part) for part in name.split("+"))


def record_title(record: Record) -> str:
    """What a record is of, such as "CIFAR-100, ResNet-29 with SE"; the words of its name if its settings do not say."""
    describe = DESCRIPTIONS.get(record.kind)
    try:
        title = describe(record) if describe else ""
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        title = ""
    return title or words_of(record.title.rpartition("/")[2])


def network_title(arch: str | None, attention: str | None = None) -> str:
    """An architecture with its attention, such as "ResNet-29 with SE"."""
    return arch_title(arch or "") + (f" with {attention_label(attention)}" if attention else "")


def recipe_title(record: Record) -> str:
    """The data and network of a record that holds a recipe, and how much was trained on where it says."""
    settings = record.settings
    recipe, data = settings["recipe"], settings["data"]["name"]
    parts = [DATA.get(data, str(data)), network_title(recipe["model"]["arch"], recipe["model"]["attention"])]
    if images := settings.get("images"):
        parts.append(f"{images['train']:,} training images")
    if epochs := recipe.get("train", {}).get("epochs"):
        parts.append(how_many(epochs, "epoch"))
    return ", ".join(parts)


def benchmark_title(record: Record) -> str:
    """The networks that were timed, and the batch."""
    settings = record.settings
    if settings.get("config"):
        subject = f"segmentors of {words_of(PurePath(settings['config']).stem)}"
    else:
        subject = f"{'counters over ' if settings.get('counter') else ''}{arch_title(settings['arch'])}"
    return f"{subject}, batch {settings['batch_size']}"


def counting_title(record: Record) -> str:
    """The data of a crowd counter."""
    data = record.settings["data"]
    data = data["name"] if isinstance(data, Mapping) else data
    return crowd_title(str(data))


def front_title(record: Record) -> str:
    """The data, network and method of a Pareto front."""
    origin: Mapping[str, Any] = record.metrics["origin"]
    data = origin.get("data") or ""
    return ", ".join(filter(None, [DATA.get(data, data), network_title(origin.get("arch"), origin.get("attention"))]))


def speed_title(record: Record) -> str:
    """What was compared, and on which network."""
    name, settings = record.title.rpartition("/")[2].removeprefix("speed_"), record.settings
    subject = next((words for key, words in SPEEDS.items() if name.startswith(key)), "")
    if not subject:
        return ""
    parts = [subject]
    if settings.get("arch") and not name.startswith("density"):
        parts.append(arch_title(settings["arch"]))
    elif settings.get("config"):
        parts.append(words_of(PurePath(settings["config"]).stem))
    if settings.get("network") == "supernet":
        parts.append("supernet")
    if name.startswith(("network", "training", "processes", "allocators")):
        parts.append(f"batch {settings['batch_size']}")
    return ", ".join(parts)


def landscapes_title(record: Record) -> str:
    """The numbers of blocks, and the end of the name of a record that is not the only one of its size."""
    sizes = " and ".join(record.settings["sizes"])
    more = words_of(record.title.rpartition("/")[2].partition(f"_{sizes}_")[2])
    return f"{sizes} blocks{f' ({more})' if more else ''}"


DESCRIPTIONS: dict[str, Callable[[Record], str]] = {
    **dict.fromkeys(
        ("pipeline", "search-comparison", "search-retrained", "correlation", "batch-norm", "train"), recipe_title
    ),
    "benchmark": benchmark_title,
    "counting": counting_title,
    "segmentation": lambda record: record.settings["title"],
    "segmentation-run": lambda record: record.settings["title"],
    "pareto": front_title,
    "latency": lambda record: network_title(record.metrics["arch"], record.metrics["attention"]),
    "search-benchmark": landscapes_title,
    "attention-zoo": lambda record: arch_title(record.settings["arch"]),
    "speed": speed_title,
}
"""Kind -> what says in words what a record of it is of."""
