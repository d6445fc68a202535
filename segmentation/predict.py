"""Segment images with a trained network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ean_core.cli import make_parser, parse_options
from ean_core.utils.errors import EANError, command, legible

HELP = """\
example:
  python segmentation/predict.py segmentation/configs/ean_se_demo.py work_dirs/ean_se_demo/last.pth \\
      data/voc_demo/JPEGImages --out-dir predictions

Writes for every image NAME_mask.png (labels, with VOC's palette) and NAME.png (image and prediction side by side), and
prints the share of pixels of each class."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CONFIG CHECKPOINT IMAGES.. --out-dir DIR [options]")
    parser.add_argument(
        "config", metavar="CONFIG", help="config that the checkpoint was trained with; it is code and gets executed"
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="last.pth of tools/train.py; a name of tools/models.py in place of CONFIG CHECKPOINT has its own config",
    )
    parser.add_argument("images", nargs="*", metavar="IMAGES", help="images, or folders of images")
    parser.add_argument("--out-dir", required=True, metavar="DIR", help="directory for the results")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda if available)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace fields of the config")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Segment all images, write the results and print the class shares."""
    arguments = parse_arguments(argv)
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from pathlib import Path

    from ean_core.data.find_images import find_images
    from ean_core.inference.shipped_models import announce_model
    from ean_core.utils.screen import say
    from ean_core.utils.shipped_files import ROOT
    from ean_core.utils.text import how_many
    from segmentation.config import read_config
    from segmentation.inference import Segmentor, outputs_of, predict

    if (shipped := announce_model(arguments.config)) is not None:  # a shipped model names its config
        arguments.images.insert(0, arguments.checkpoint)
        arguments.config, arguments.checkpoint = ROOT / str(shipped.about.config), shipped.name
    if not arguments.images:
        raise EANError("there is no image to segment: give images, or folders of images, after the checkpoint")
    listing = find_images(arguments.images, below=False)  # --out-dir may lie inside a folder of images
    if message := listing.describe():
        print(message, file=sys.stderr)
    config = read_config(arguments.config, parse_options(arguments.cfg_options))
    segmentor = Segmentor(config, arguments.checkpoint, device=arguments.device)
    out = Path(arguments.out_dir)
    outputs = outputs_of(listing.files, segmentor, arguments.checkpoint)
    done = 0
    for file, shares in predict(segmentor, listing.files, out, outputs=outputs):
        if isinstance(shares, EANError):
            say(f"{legible(file.name)}: skipped: {shares}")
            continue
        say(f"{legible(file.name)}: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}")
        done += 1
    say(f"written: {out}/ ({how_many(done, 'image')}: a mask and a picture of each)")


if __name__ == "__main__":
    main(sys.argv[1:])
