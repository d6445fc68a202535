"""Test a trained classifier: top-1, top-5, and which classes are taken for which."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ean_core.cli import add_own_attention, at_least, load_attention, make_parser, parse_options
from ean_core.utils.errors import EANError

if TYPE_CHECKING:
    from ean_core.data.image_data import ImageData

HELP = """\
example:
  python tools/test.py classification/configs/quickstart_digits.py work_dirs/quickstart_digits/org-seed0/classifier.pth

Prints top-1 and top-5 accuracy on the recipe's test images, and writes test.json (with every class's accuracy and the
most frequent confusions) and confusion.csv (rows: the true class, columns: the predicted one) beside the checkpoint."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CONFIG CHECKPOINT [options]")
    add = parser.add_argument
    add("config", metavar="CONFIG", help="recipe that names the data")
    add("checkpoint", metavar="CHECKPOINT", help="a classifier.pth")
    add("--data-root", default="data", metavar="DIR", help="folder of the data sets (default data)")
    add("--out-dir", metavar="DIR", help="directory for the results (default: that of the checkpoint)")
    add("--batch-size", type=at_least(1), default=500, metavar="N", help="images per forward pass (default 500)")
    add("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace recipe fields")
    add_own_attention(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    """Score a classifier on its recipe's test images."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    import dataclasses

    from classification.evaluation import evaluate, most_confused, write_test
    from classification.job import start_job
    from classification.recipe import Recipe
    from ean_core.io.made_from import claim_outputs, digest_of_files
    from ean_core.networks.network_file import load_network
    from ean_core.utils.devices import warn_of_unused_gpu
    from ean_core.utils.files import writable
    from ean_core.utils.intervals import proportion_interval
    from ean_core.utils.screen import say, say_next, script
    from ean_core.utils.shipped_files import model_path, results_folder
    from ean_core.utils.text import how_many

    warn_of_unused_gpu()
    out = writable(arguments.out_dir or results_folder(arguments.checkpoint))
    recipe = Recipe.from_file(arguments.config, parse_options(arguments.cfg_options))
    network, content = load_network(arguments.checkpoint)
    recipe = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, pretrained=None))  # not needed
    task = start_job(recipe, data_root=arguments.data_root, directory=arguments.out_dir or ".").task
    task = dataclasses.replace(task, data=normalized_as(task.data, content))
    classes = list(task.data.classes)
    check_classes(arguments.checkpoint, content["classes"], classes, data=task.data.name)
    checkpoint = model_path(arguments.checkpoint)
    inputs = {
        "checkpoint": digest_of_files([checkpoint]),
        "data": f"{task.data.name} ({task.data.fingerprint})",
    }
    claim_outputs(out, {"test.json": inputs, "confusion.csv": inputs})
    metrics, matrix = evaluate(task.images, network, batch_size=arguments.batch_size)
    images = f"{task.data.name}, {how_many(int(metrics['images']), 'test image')}"
    top5 = f", top-5 {metrics['top5']:.2f} %" if "top5" in metrics else ""
    low, high = proportion_interval(metrics["top1"], images=int(metrics["images"]))
    say(f"{images}: top-1 {metrics['top1']:.2f} % (95 % interval {low:.2f} to {high:.2f}){top5}")
    if pairs := most_confused(matrix, classes, count=3):
        confused = "; ".join(f"{pair['true']} for {pair['predicted']} ({pair['images']})" for pair in pairs)
        say(f"most often mistaken (images): {confused}")
    settings = {"recipe": recipe.name, "data": dict(task.dataset().fingerprint)}
    write_test(out, metrics, matrix, classes=classes, settings=settings, checkpoint=checkpoint)
    say(f"written: {out / 'test.json'}, {out / 'confusion.csv'}")
    say_next(
        [*script("tools/gradcam.py"), "PHOTOS", "--checkpoints", arguments.checkpoint],
        [*script("tools/predict.py"), arguments.checkpoint, "PHOTO.jpg"],
    )


def check_classes(checkpoint: str, trained_on: Sequence[str], classes: Sequence[str], *, data: str) -> None:
    """Refuse images of other classes than the network was trained on.

    Raises:
        EANError: with the first of both.
    """
    if list(trained_on) != list(classes):
        raise EANError(
            f"{checkpoint} has {len(trained_on)} classes ({', '.join(trained_on[:3])}, ..) and {data} has "
            f"{len(classes)} ({', '.join(classes[:3])}, ..): give the recipe that the checkpoint was trained with"
        )


def normalized_as(data: ImageData, content: Mapping[str, Any]) -> ImageData:
    """The images, normalized as a file's network was trained on them; a file that does not say leaves them."""
    import dataclasses

    mean, std = content.get("mean"), content.get("std")  # checked when the network was loaded
    return dataclasses.replace(data, mean=tuple(mean), std=tuple(std)) if mean and std else data
