"""Count the people in images or a video, and draw where they are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from crowd_counting.cli import add_data_arguments
from ean_core.cli import add_own_attention, at_least, load_attention, make_parser
from ean_core.utils.errors import command

HELP = """\
example:
  python crowd_counting/predict.py photo.jpg                           with the counter that comes with the project
  python crowd_counting/predict.py best.pth holiday/ more/*.jpg --out-dir counts
  python crowd_counting/predict.py best.pth street.mp4 --every 10
  python crowd_counting/predict.py best.pth data/ShanghaiTech/part_A/test_data/images --part A --out-dir counts

Writes counts.json and a picture of the density over each image (for a video, an .mp4 of the counted frames). Images
with a side above --tile pixels are counted in overlapping tiles, so that memory holds little more than the image
itself, four bytes per pixel; images of more than 536 million pixels are refused. With --part or --annotations the
pictures of annotated images show the true count too. A counter that comes
with the project also prints its mean error on test photos with a similar count."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CHECKPOINT] IMAGE|FOLDER|VIDEO .. [options]")
    add = parser.add_argument
    add(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help="a best.pth or final.pth, or a name of tools/models.py (default: the first counter listed there)",
    )
    add("sources", nargs="+", metavar="IMAGE|FOLDER|VIDEO", help="images and folders of images, or one video")
    add(
        "--out-dir",
        metavar="DIR",
        help="directory for the results (default counts, or counts_2, .. if that is taken)",
    )
    add("--tile", type=at_least(1), default=1536, metavar="N", help="side of the tiles in pixels (default 1536)")
    add(
        "--overlap",
        type=at_least(0),
        default=192,
        metavar="N",
        help="pixels around the kept center of a tile (default 192)",
    )
    add("--every", type=at_least(1), default=1, metavar="N", help="count every N-th frame of a video (default 1)")
    add_data_arguments(parser)
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Count the people in all sources, write the results and print the counts."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from pathlib import Path

    from crowd_counting.data.load import load_crowd
    from crowd_counting.evaluation import load_model
    from crowd_counting.inference import COUNTS, VIDEOS, Settings, find_sources, outputs_of, predict
    from ean_core.inference.shipped_models import announce_model, split_sources
    from ean_core.io.made_from import claim_outputs, free_folder
    from ean_core.utils.screen import say, say_next, script
    from ean_core.utils.shipped_files import model_path
    from ean_core.utils.text import how_many
    from ean_core.utils.wrapping import print_wrapped

    checkpoint, sources = split_sources(arguments.checkpoint, arguments.sources, task="counter", endings=VIDEOS)
    shipped = announce_model(checkpoint)
    errors = shipped.about.count_errors if shipped else None
    model, _ = load_model(checkpoint)
    annotated = {}
    if arguments.part or arguments.annotations:
        data = load_crowd(parts=arguments.part, annotations=arguments.annotations, data_root=arguments.data_root)
        annotated = {image.path.resolve(): image.count for image in (*data.train, *data.test)}
    settings = Settings(arguments.tile, arguments.overlap, arguments.every, annotated, errors)
    files = find_sources([Path(source) for source in sources])
    outputs = outputs_of(files, model_path(checkpoint), settings)
    out = Path(arguments.out_dir) if arguments.out_dir else free_folder(Path("counts"), outputs)
    claim_outputs(out, outputs)
    entries = predict(model, files, out, settings)
    counted, failed = ([entry for entry in entries if ("error" in entry) is wanted] for wanted in (False, True))
    for entry in counted[:20]:
        name = entry.get("image", f"frame {entry.get('frame')}")
        off = errors.describe(entry["count"]) if errors else ""
        say(f"{name}: {entry['count']:.1f} people{f' ({off})' if off else ''}", hang=4)
    if len(counted) > 20:
        say(f".. and {len(counted) - 20} more")
    for entry in failed:
        print_wrapped(f"skipped: {entry['error']}", file=sys.stderr)
    say(f"written: {out}/ ({COUNTS}, and the density over each image)")
    if "image" in entries[0]:
        say_next([*script("tools/gradcam.py"), files[0], "--checkpoints", checkpoint])
    if failed:
        print(f"{len(failed)} of {how_many(len(entries), 'image')} could not be read", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
