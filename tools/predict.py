"""Classify images with a trained classifier."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ean_core.cli import add_own_attention, at_least, file_of, load_attention, make_parser
from ean_core.utils.errors import EANError, command
from ean_core.utils.wrapping import print_wrapped

if TYPE_CHECKING:
    from PIL import Image

HELP = """\
example:
  python tools/predict.py work_dirs/quickstart_digits/org-seed0/classifier.pth photo.jpg
  python tools/predict.py classifier.pth holiday/ more/*.png --topk 3 --json predictions.json

Prints the most probable classes of each photo. Photos are turned upright, resized, cropped and normalized as the
network's test images were. Files that cannot be read are listed and skipped, and the exit status is then 1."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CHECKPOINT] IMAGE|FOLDER... [options]")
    add = parser.add_argument
    add(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="a classifier.pth, the .safetensors made from one, or a name of tools/models.py (default: the first "
        "classifier listed there)",
    )
    add("images", nargs="+", metavar="IMAGE|FOLDER", help="photos, or folders, which are searched recursively")
    add("--topk", type=at_least(1), default=5, metavar="N", help="number of classes per photo (default 5)")
    add("--json", type=file_of(".json"), metavar="FILE", help="also write the results to this file")
    add("--batch-size", type=at_least(1), default=64, metavar="N", help="photos per forward pass (default 64)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: cuda if available)")
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Classify the images, print the classes, and write the JSON file."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from ean_core.data.find_images import find_images
    from ean_core.inference.images import read_images
    from ean_core.inference.loaded_model import load_file
    from ean_core.inference.predictor import Predictor
    from ean_core.inference.shipped_models import announce_model, split_sources
    from ean_core.utils.files import writable, write_atomic, written_or_replaced
    from ean_core.utils.screen import say, say_next, script

    checkpoint, images = split_sources(arguments.checkpoint, arguments.images, task="classifier")
    announce_model(checkpoint)
    model = load_file(checkpoint, device=arguments.device)
    net = Predictor(model)
    images_found = find_images(images)
    files = images_found.files
    if message := images_found.describe():
        print_wrapped(message, file=sys.stderr)
    if arguments.json:
        writable(arguments.json.parent)
    read, failed = [], []

    def readable() -> Iterator[Image.Image]:
        for file, photo in read_images(files):
            (failed if isinstance(photo, EANError) else read).append(file)
            if isinstance(photo, EANError):
                print_wrapped(f"skipped: {photo}", file=sys.stderr)
            else:
                yield photo

    entries = []
    for guesses in net.stream(readable(), topk=arguments.topk, batch_size=arguments.batch_size):
        file = read[len(entries)]
        entries.append({"image": str(file), "classes": [vars(guess) for guess in guesses]})
        say(f"{file}: {', '.join(map(str, guesses))}", hang=4)
    if not entries:
        raise EANError(f"none of the {len(files)} images can be read: give image files such as .jpg and .png")
    if arguments.json:
        report = {"checkpoint": checkpoint, "images": entries, "skipped": [str(file) for file in failed]}
        word = written_or_replaced(arguments.json)
        write_atomic(arguments.json, json.dumps(report, indent=1) + "\n")
        say(f"{word}: {arguments.json}")
    if sys.stdout.isatty():  # the lines of a file or pipe are for other programs
        say_next([*script("tools/gradcam.py"), *images[:1], "--checkpoints", checkpoint])
    if failed:
        print_wrapped(f"{len(failed)} of {len(files)} images could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
