"""`--data-root FOLDER` without a recipe: look at the images, choose a recipe, and write it and the split down."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from PIL import Image
from torch import Tensor

from classification.job import Job
from classification.recipe import Recipe
from classification.recommend import Facts, as_text, one_line, recommend
from ean_core.data import load_data
from ean_core.data.copies import warn_of_copies
from ean_core.data.folder import HELD_OUT
from ean_core.data.image_data import ImageData
from ean_core.utils.devices import has_bfloat16
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.files import free_path, write_atomic

FEWEST = 5  # images of a class: 3 to train on, one to score schemes on, one to test on
CHECKED = 5000  # images decoded beforehand; of more, evenly spaced ones
NAMED = 12  # classes listed one by one
BEFORE_A_RUN = re.compile(r"recipe(_\d+)?\.py|split\.json")  # what is written before anything is trained


def name_of(root: str | Path) -> str:
    """The recipe's name, and the work directory's: the folder's, without blanks and the like."""
    return re.sub(r"[^\w.-]+", "_", Path(root).resolve().name) or "images"


def write_recipe(root: Path, directory: Path, options: Mapping[str, Any]) -> str:
    """Choose a recipe for the images in a folder and write `directory`/recipe.py.

    Another one that is there already gets a number where no run has begun with it.

    Args:
        root: holds a folder per class, or train with such folders, and perhaps val.
        directory: the work directory.
        options: dotted names and values that replace the choice.

    Returns:
        what to print: classes, sizes, the recipe.

    Raises:
        EANError: if the images are laid out in another way, too few or damaged, an option is wrong, or the directory
            holds a run with another recipe.
    """
    data = load_data("folder", root)
    sizes = check_images([*data.train.paths, *data.test.paths])
    counts = enough(data)
    sides = [min(size) for size in sizes]
    device, side = get_device(), round(median(sides))
    facts = Facts(len(data.train), int(counts.min()), side, device, os.cpu_count() or 1, has_bfloat16(device))
    config = Config(recommend(facts, name=name_of(root)))
    config.merge_from_dict(dict(options))
    values = config.to_dict()
    Recipe.from_values(values, where="the recipe chosen for your images, with --cfg-options")
    path = directory / "recipe.py"
    text = as_text(values, comment=f"Chosen for {facts.train_images} training images of {root} on {facts.device}.")
    if path.exists() and path.read_text(encoding="utf-8") != text:
        if any(not BEFORE_A_RUN.fullmatch(one.name) for one in directory.iterdir()):
            raise EANError(
                f"{path} is of an earlier run with other images or options: give --resume to go on with it, or another "
                "--work-dir"
            )
        path.rename(free_path(path))  # that run stopped on a mistake; but the user may have edited the file
    write_atomic(path, text)
    shortest, longest = min(sizes), max(sizes)
    return "\n".join(
        [
            describe_classes(data),
            f"sizes from {shortest[0]}x{shortest[1]} to {longest[0]}x{longest[1]}, median shorter side {facts.side}",
            f"recipe for {facts.train_images} images on {facts.device}: {one_line(values)}",
            f"written to {path}; replace any of it with --cfg-options, as train.epochs=20 supernet.epochs=20",
        ]
    )


def check_images(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Decode the images, at a coarse scale where the format allows it.

    Returns:
        (width, height) of each.

    Raises:
        EANError: naming the first that cannot be decoded, and how many there are.
    """
    chosen = [paths[i * len(paths) // CHECKED] for i in range(CHECKED)] if len(paths) > CHECKED else paths
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(_size_or_reason, chosen))
    bad = [(path, found) for path, found in zip(chosen, results, strict=True) if isinstance(found, str)]
    if bad:
        path, reason = bad[0]
        raise EANError(
            f"{len(bad)} of {len(chosen)} images cannot be decoded, the first is {path} ({reason}): replace or remove "
            "them"
        )
    return [found for found in results if not isinstance(found, str)]


def _size_or_reason(path: str) -> tuple[int, int] | str:
    try:
        with Image.open(path) as image:
            size = image.size
            image.draft("RGB", (64, 64))
            image.load()
        return size
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and more on bad bytes
        return first_line(error)


def enough(data: ImageData) -> Tensor:
    """Images of each training class (K,), if every class has enough of them.

    Raises:
        EANError: naming the class.
    """
    counts = torch.bincount(data.train.labels, minlength=data.num_classes)
    tested = torch.bincount(data.test.labels, minlength=data.num_classes)
    total = counts + tested
    if int(total.min()) < FEWEST:
        label = int(total.argmin())
        raise EANError(
            f"class {data.classes[label]!r} has {int(total[label])} images: give every class at least {FEWEST}, since "
            "they are parted into training, scoring of schemes, and testing"
        )
    if int(counts.min()) < 2:  # where the folder itself says what is tested on
        label = int(counts.argmin())
        raise EANError(
            f"class {data.classes[label]!r} has {int(counts[label])} image in the training folder: give every class at "
            "least 2 there, to train on and to score schemes on"
        )
    return counts


def describe_classes(data: ImageData) -> str:
    """How many classes and images, and of which class how many."""
    counts = torch.bincount(torch.cat([data.train.labels, data.test.labels])).tolist()
    head = f"{data.num_classes} classes, {sum(counts)} images"
    if data.num_classes <= NAMED:
        return f"{head}: " + ", ".join(f"{name} {count}" for name, count in zip(data.classes, counts, strict=True))
    return f"{head}, from {min(counts)} to {max(counts)} in a class"


def write_split(job: Job, root: Path) -> str:
    """Write `split.json`: which image is in which part, as paths in the folder.

    Returns:
        what to print.
    """
    train, val = job.split()
    paths = {
        "train": [job.data.train.paths[i] for i in train.tolist()],
        "val": [job.data.train.paths[i] for i in val.tolist()],
        "test": list(job.data.test.paths),
    }
    record = {
        "seed": job.recipe.data.split_seed,
        "classes": list(job.data.classes),
        "note": job.data.note or "test part as given",
        **{part: [Path(one).relative_to(root).as_posix() for one in files] for part, files in paths.items()},
    }
    path = job.directory / "split.json"
    write_atomic(path, json.dumps(record, indent=1) + "\n")
    share = job.recipe.data.val_fraction
    scoring = str(job.recipe.data.val_per_class) if share is None else f"{share:.0%}"
    held = "given" if not job.data.note else f"{HELD_OUT:.0%} of each class"
    said = (
        f"split: {len(train)} to train on, {len(val)} to score schemes on ({scoring} of each class's rest), "
        f"{len(job.data.test)} to test on ({held}), all the same every time; written to {path}"
    )
    return "\n".join([said, *warn_of_copies(paths, root)])
