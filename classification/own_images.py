"""`--data-root FOLDER` without a recipe: inspect the images, choose a recipe, and write it and the split to files."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import Tensor

from classification.images import Images
from classification.recipe import Recipe
from classification.recommend import Facts, architectures, as_text, one_line, recommend
from ean_core.data import load_data
from ean_core.data.duplicates import check_duplicates
from ean_core.data.folder import HELD_OUT
from ean_core.data.image_data import ImageData
from ean_core.data.read_image import check_image
from ean_core.io.json_file import read_text
from ean_core.networks.architectures import stages_blocks
from ean_core.scheme import as_scheme, describe_blocks
from ean_core.training.device_defaults import SMALL_IMAGE
from ean_core.utils.devices import has_bfloat16
from ean_core.utils.errors import EANError
from ean_core.utils.files import free_path, write_atomic
from ean_core.utils.text import how_many

MIN_IMAGES = 5  # images of a class: 3 to train on, one to score schemes on, one to test on
MAX_CHECKED = 5000  # images decoded beforehand; of more, evenly spaced ones
MAX_LISTED = 12  # classes listed one by one
FEW_PHOTOS = 5000  # training images up to which ImageNet weights are suggested
PRETRAINED_RECIPE = "classification/configs/ean_se_lite0_images.py"
BEFORE_A_RUN = re.compile(r"recipe(_\d+)?\.py|split\.json")  # what is written before anything is trained


def recipe_name(root: str | Path) -> str:
    """Name of recipe and work directory for a folder of images: the folder's, without blanks and the like."""
    return re.sub(r"[^\w.-]+", "_", Path(root).resolve().name) or "images"


def write_recipe(root: Path, directory: Path, options: Mapping[str, Any]) -> list[str]:
    """Choose a recipe for the images in a folder and write `directory`/recipe.py.

    An existing recipe that no run has used yet is renamed with a number.

    Args:
        root: holds a folder per class, or train with such folders, and perhaps val.
        directory: the work directory.
        options: dotted names and values that replace the choice.

    Returns:
        the lines to print: classes, sizes, and the recipe.

    Raises:
        EANError: if the images are laid out differently, too few or damaged, an option is wrong, or the directory
            holds a run with another recipe.
    """
    data = load_data("folder", root)
    sizes = check_images([*data.train.paths, *data.test.paths])
    counts = count_per_class(data)
    shorter_sides = [min(size) for size in sizes]
    device, side = get_device(), round(median(shorter_sides))
    facts = Facts(len(data.train), int(counts.min()), side, device, os.cpu_count() or 1, has_bfloat16(device))
    config = Config(recommend(facts, name=recipe_name(root)))
    config.merge_from_dict(dict(options))
    values = config.to_dict()
    Recipe.from_values(values, where="the recipe chosen for your images, with --cfg-options")
    path = directory / "recipe.py"
    text = as_text(values, comment=f"Chosen for {facts.train_images} training images of {root} on {facts.device}.")
    if path.exists() and read_text(path, what="recipe", advice="move it away") != text:
        if any(not BEFORE_A_RUN.fullmatch(file.name) for file in directory.iterdir()):
            raise EANError(
                f"{path} belongs to an earlier run with other images or options: resume it with --resume, or give "
                "another --work-dir"
            )
        path.rename(free_path(path))  # that run stopped on a mistake; but the user may have edited the file
    write_atomic(path, text)
    shortest, longest = min(sizes), max(sizes)
    return [
        describe_classes(data),
        f"all of {shortest[0]}x{shortest[1]} pixels"
        if shortest == longest
        else f"sizes from {shortest[0]}x{shortest[1]} to {longest[0]}x{longest[1]}, median shorter side {facts.side}",
        f"recipe for {how_many(facts.train_images, 'training image')} on {facts.device.upper()}: {one_line(values)}",
        *pretrained_hint(facts, root),
    ]


def check_schemes(schemes: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse a scheme that fits no network which may be chosen, before the images are read.

    Args:
        schemes: as `--scheme` takes them.
        options: dotted names and values that replace the choice.

    Raises:
        EANError: naming the networks.
    """
    given = options.get("model.arch")
    blocks = {arch: stages_blocks(arch) for arch in ([given] if given else architectures(get_device()))}
    for scheme in schemes:
        errors = []
        for arch in blocks:
            try:
                as_scheme(scheme, blocks[arch])
                break
            except EANError as error:
                errors.append(error)
        else:
            if len(blocks) == 1:
                raise errors[0]
            described = ", ".join(f"{arch} with {describe_blocks(count)}" for arch, count in blocks.items())
            raise EANError(
                f"the scheme {scheme} fits none of the networks that may be chosen for your images ({described}): give "
                "a scheme for one of them, or another network with --cfg-options model.arch=NAME"
            )


def pretrained_hint(facts: Facts, root: Path) -> list[str]:
    """For few photos: the command that starts from ImageNet weights, which the recipe chosen here does not."""
    if facts.train_images > FEW_PHOTOS or facts.side <= SMALL_IMAGE:
        return []
    return [
        "its networks start from random weights; to start from ImageNet weights (extra [trunk]):",
        f"  python tools/search.py {PRETRAINED_RECIPE} --data-root {shlex.quote(str(root))}",
    ]


def check_images(paths: Sequence[str]) -> list[tuple[int, int]]:
    """Decode the images as training will, at a coarse scale where the format allows it.

    Returns:
        (width, height) of each, upright.

    Raises:
        EANError: naming the first that cannot be decoded, and how many there are.
    """
    chosen = [paths[i * len(paths) // MAX_CHECKED] for i in range(MAX_CHECKED)] if len(paths) > MAX_CHECKED else paths
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        results = list(pool.map(_size_or_reason, chosen))
    bad = [(path, result) for path, result in zip(chosen, results, strict=True) if isinstance(result, str)]
    if bad:
        path, reason = bad[0]
        raise EANError(f"{len(bad)} of {len(chosen)} images cannot be decoded, the first is {path}: {reason}")
    return [result for result in results if not isinstance(result, str)]


def _size_or_reason(path: str) -> tuple[int, int] | str:
    try:
        return check_image(path)
    except EANError as error:
        return str(error)


def count_per_class(data: ImageData) -> Tensor:
    """Images of each training class (K,), if every class has enough of them.

    Raises:
        EANError: naming the class.
    """
    counts = torch.bincount(data.train.labels, minlength=data.num_classes)
    tested = torch.bincount(data.test.labels, minlength=data.num_classes)
    total = counts + tested
    if int(total.min()) < MIN_IMAGES:
        label = int(total.argmin())
        raise EANError(
            f"class {data.classes[label]!r} has {how_many(int(total[label]), 'image')}: give every class at least "
            f"{MIN_IMAGES}, since they are split into parts for training, for scoring schemes, and for testing"
        )
    if int(counts.min()) < 2:  # where the folder itself defines the test part
        label = int(counts.argmin())
        raise EANError(
            f"class {data.classes[label]!r} has {int(counts[label])} image in the training folder: give every class at "
            "least 2 there, to train on and to score schemes on"
        )
    return counts


def describe_classes(data: ImageData) -> str:
    """How many classes and images, and of which class how many."""
    counts = torch.bincount(torch.cat([data.train.labels, data.test.labels])).tolist()
    head = f"{data.num_classes} classes, {sum(counts):,} images"
    if data.num_classes <= MAX_LISTED:
        return f"{head}: " + ", ".join(f"{name} {count}" for name, count in zip(data.classes, counts, strict=True))
    return f"{head}, from {min(counts)} to {max(counts)} in a class"


def write_split(images: Images, root: Path, directory: Path) -> list[str]:
    """Write `directory`/split.json: which image is in which part, as paths in the folder.

    Args:
        images: of the run.
        root: the folder of the images.
        directory: the work directory.

    Returns:
        lines to print.
    """
    data, recipe = images.data, images.recipe
    train, val = images.split()
    paths = {
        "train": [data.train.paths[i] for i in train.tolist()],
        "val": [data.train.paths[i] for i in val.tolist()],
        "test": list(data.test.paths),
    }
    record = {
        "seed": recipe.split_seed,
        "classes": list(data.classes),
        "note": data.note or "test part as given",
        **{part: [Path(file).relative_to(root).as_posix() for file in files] for part, files in paths.items()},
    }
    path = directory / "split.json"
    write_atomic(path, json.dumps(record, indent=1) + "\n")
    count = recipe.val_per_class if recipe.val_fraction is None else f"{100 * recipe.val_fraction:.0f} %"
    scoring = f"{count} of the others of each class" if data.val is None else "given"
    held_out = "given" if not data.note else f"{100 * HELD_OUT:.0f} % of each class"
    summary = (
        f"split: {len(data.test)} images to test on ({held_out}), {len(val)} to score schemes on ({scoring}), and "
        f"{len(train)} to train on; the same in every run, and written to {path}"
    )
    random_parts = {"train": paths["train"], "val": paths["val"]}  # the test images were looked at when they were read
    return [summary, *(check_duplicates(random_parts, root) if data.val is None else ())]
