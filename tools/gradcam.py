"""Show where networks look: Grad-CAM heatmaps beside each other, and the attention masks block by block."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ean_core.cli import add_own_attention, at_least, file_of, load_attention, make_parser
from ean_core.utils.errors import EANError, command
from ean_core.utils.wrapping import print_wrapped

if TYPE_CHECKING:
    from ean_core.inference.explain.gallery import LabeledImage

HELP = """\
example:
  python tools/gradcam.py bee.png whale.png --checkpoints org.pth share_full.pth ean.pth --output grid.png
  python tools/gradcam.py photos/ --checkpoints ean.pth --target bee --masks
  python tools/gradcam.py crowd.jpg --checkpoints best.pth                 where a crowd counter sees its count
  python tools/gradcam.py street.jpg --config segmentation/configs/ean_se_voc.py --checkpoints last.pth --target person

Draws a row per image and a column per checkpoint. Under each heatmap are the target's name and softmax score in
percent, and the network's prediction if it is another class. The target is --target. Without it, the target is the
class that the image's folder is named after, or else the class that the first checkpoint predicts."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="IMAGE|FOLDER... --checkpoints FILE... [options]")
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE|FOLDER", help="photos, or folders of photos")
    add(
        "--checkpoints",
        nargs="+",
        required=True,
        metavar="FILE",
        help="classifiers, counters or segmentors, one column each",
    )
    add("--config", metavar="FILE", help="config of the segmentors; it is code and gets executed")
    add(
        "--output",
        type=file_of(".png"),
        metavar="PNG",
        help="path of the picture (default gradcam.png, or gradcam_2.png, .. if it exists)",
    )
    add("--target", metavar="NAME|INDEX", help="the class to explain in all images")
    add(
        "--stage",
        type=at_least(1),
        metavar="N",
        help="use the output of this stage, counted from 1 (default: the last)",
    )
    add("--masks", action="store_true", help="also draw the attention masks, to OUTPUT_masks_CHECKPOINT.png")
    add("--limit", type=at_least(1), default=24, metavar="N", help="maximum number of rows (default 24)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: cuda if available)")
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Load the networks and images, and draw the heatmaps and masks."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from ean_core.inference.explain.gallery import explain, explain_masks, headings_of
    from ean_core.inference.images import result_name
    from ean_core.inference.loaded_model import load_file
    from ean_core.utils.files import free_path, written_or_replaced
    from ean_core.utils.screen import say, say_next, script

    output = arguments.output or free_path("gradcam.png")
    networks = [load_file(path, device=arguments.device, config=arguments.config) for path in arguments.checkpoints]
    files = files_to_show(arguments.images, output=output, limit=arguments.limit)
    failed: set[Path] = set()

    def labeled_images() -> Iterator[LabeledImage]:
        """The images again, one at a time, so that they are never all in memory."""
        return read_labeled(files, networks[0].classes, failed)

    stage = -1 if arguments.stage is None else arguments.stage - 1
    said = [written_or_replaced(output)]
    pictures = [explain(networks, labeled_images(), output, target=arguments.target, stage=stage)]
    if arguments.masks:
        for label, network in zip(headings_of(networks), networks, strict=True):
            if network.trunk.scheme.connections:
                path = output.with_name(result_name(f"{output.stem}_masks_{label.replace(os.sep, '-')}", ".png"))
                said.append(written_or_replaced(path))
                pictures.append(explain_masks(network, labeled_images(), path))
            else:
                say(f"{network.path}: no block is connected to attention, so that there are no masks to draw")
    for word, picture in zip(said, pictures, strict=True):
        say(*picture.lines, f"{word}: {picture.path}")
    if not arguments.masks and any(network.trunk.scheme.connections for network in networks):
        config = ["--config", arguments.config] if arguments.config else []
        same = [*arguments.images[:1], "--checkpoints", *arguments.checkpoints, *config, "--output", output, "--masks"]
        say_next([*script("tools/gradcam.py"), *same])
    sys.exit(1 if failed else 0)


def files_to_show(paths: Sequence[str], *, output: Path, limit: int) -> list[Path]:
    """The images of the command line, the first `limit` of them.

    Raises:
        EANError: if there are none, or the picture would be written over one.
    """
    from ean_core.data.find_images import find_images

    found = find_images(paths)
    files = found.files
    if output.resolve() in [file.resolve() for file in files]:
        raise EANError(f"the grid would be written over the image {output}: give another --output")
    if message := found.describe():
        print_wrapped(message, file=sys.stderr)
    if len(files) > limit:
        print_wrapped(f"the first {limit} of {len(files)} images: --limit changes that", file=sys.stderr)
    return files[:limit]


def read_labeled(files: Sequence[Path], classes: Sequence[str], failed: set[Path]) -> Iterator[LabeledImage]:
    """The images that can be read, with their names and true classes; the others are reported once.

    Args:
        files: to read.
        classes: of the network, one of which an image's folder may be named after.
        failed: files that could not be read; gets those that cannot be read now.

    Raises:
        EANError: if no image can be read.
    """
    from ean_core.inference.explain.gallery import true_class
    from ean_core.inference.images import read_images

    unique = len({file.name for file in files}) == len(files)  # bee/1.jpg and ant/1.jpg need their folders' names
    for file, image in read_images(files):
        if isinstance(image, EANError):
            if file not in failed:
                print_wrapped(f"skipped: {image}", file=sys.stderr)
            failed.add(file)
            continue
        name = file.name if unique else f"{file.absolute().parent.name}/{file.name}"
        yield name, image, true_class(file, classes)
    if len(failed) == len(files):
        raise EANError(f"none of the {len(files)} images can be read: give image files such as .jpg and .png")


if __name__ == "__main__":
    main(sys.argv[1:])
