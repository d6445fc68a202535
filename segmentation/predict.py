"""Segment images with a trained network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ean_core.cli import make_parser, parse_options
from ean_core.utils.errors import EANError, command
from ean_core.utils.wrapping import print_wrapped

HELP = """\
example:
  python segmentation/predict.py PHOTO.jpg             with the segmentor that comes with the project
  python segmentation/predict.py segmentor-camvid PHOTOS/ --out-dir predictions
  python segmentation/predict.py segmentation/configs/ean_se_demo.py work_dirs/ean_se_demo/last.pth \\
      data/voc_demo/JPEGImages --out-dir predictions

Writes for every image NAME_mask.png (labels, with VOC's palette) and NAME.png (image and prediction side by side), and
prints the share of pixels of each class."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CONFIG.py CHECKPOINT | MODEL] IMAGES.. [options]")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="IMAGES",
        help="images, or folders of images. Before them, either a config, which is code and gets executed, and the "
        "last.pth that was trained with it; or a name of tools/models.py (default: the first segmentor listed there)",
    )
    parser.add_argument("--out-dir", metavar="DIR", help="directory for the results (default segmented)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda if available)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace fields of the config")
    return parser.parse_args(argv)


def split(sources: Sequence[str]) -> tuple[Path, str, list[str]]:
    """The config, the checkpoint and the images of a command line.

    Raises:
        EANError: as `split_sources`; if there is no image, a checkpoint has no config before it, or the model that is
            named is for another task.
    """
    from ean_core.inference.shipped_models import announce_model, split_sources
    from ean_core.utils.shipped_files import ROOT

    if sources[0].endswith(".py"):
        config, checkpoint, images = Path(sources[0]), sources[1] if len(sources) > 1 else "", list(sources[2:])
    else:
        checkpoint, images = split_sources(sources[0], list(sources[1:]), task="segmentor")
        if (shipped := announce_model(checkpoint)) is None:
            raise EANError(
                f"{checkpoint} needs the config that it was trained with: give CONFIG.py before it, or a name "
                "of tools/models.py in place of both"
            )
        if shipped.about.config is None:
            raise EANError(f"{shipped.name} is a {shipped.about.task}, not a segmentor: see tools/models.py")
        config = ROOT / shipped.about.config
    if not images:
        raise EANError("there is no image to segment: give images, or folders of images, after the checkpoint")
    return config, checkpoint, images


@command
def main(argv: Sequence[str]) -> None:
    """Segment all images, write the results and print the class shares."""
    arguments = parse_arguments(argv)
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from ean_core.data.find_images import find_images
    from ean_core.io.made_from import free_folder
    from ean_core.utils.screen import say, say_next, script
    from ean_core.utils.text import how_many
    from segmentation.config import read_config
    from segmentation.inference import Segmentor, outputs_of, predict

    config_file, checkpoint, images = split(arguments.sources)
    listing = find_images(images, below=False)  # --out-dir may lie inside a folder of images
    if message := listing.describe():
        print_wrapped(message, file=sys.stderr)
    config = read_config(config_file, parse_options(arguments.cfg_options))
    segmentor = Segmentor(config, checkpoint, device=arguments.device)
    outputs = outputs_of(listing.files, segmentor, checkpoint)
    out = Path(arguments.out_dir) if arguments.out_dir else free_folder(Path("segmented"), outputs)
    done = 0
    for file, shares in predict(segmentor, listing.files, out, outputs=outputs):
        if isinstance(shares, EANError):
            say(f"{file.name}: skipped: {shares}")
            continue
        say(f"{file.name}: {', '.join(f'{name} {100 * share:.0f} %' for name, share in shares.items())}", hang=4)
        done += 1
    say(f"written: {out}/ ({how_many(done, 'image')}: a mask and a picture of each)")
    config_words = ["--config", config_file] if arguments.sources[0].endswith(".py") else []
    say_next([*script("tools/gradcam.py"), listing.files[0], "--checkpoints", checkpoint, *config_words])
    if failed := len(listing.files) - done:
        print(f"{failed} of {how_many(len(listing.files), 'image')} could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
