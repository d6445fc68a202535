"""Prepare a crowd data set: check every file, split off validation images, and cache density maps."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from crowd_counting.cli import (
    DEFAULT_WORK_DIR,
    DEMO_ROOT,
    add_data_arguments,
    add_empty_argument,
    data_name,
    data_words,
)
from ean_core.cli import at_least, make_parser, seed
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python crowd_counting/prepare.py --part A
  python crowd_counting/prepare.py --part B --data-root DIR --kernel adaptive
  python crowd_counting/prepare.py --demo              draws a small synthetic crowd into data/crowd_demo
  python crowd_counting/prepare.py --annotations points.json

Checks that images and points match, decodes every image, prints a table, and writes split.json (the seeded split into
training and validation) and density.h5 (density maps, which train.py uses with --cfg-options data.cache=FILE)."""
LITE0 = "crowd_counting/configs/shanghaitech_a_lite0.py"
"""The recipe that trains a counter worth using in the shortest time."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="--part A [options]")
    add_data_arguments(parser)
    add_empty_argument(parser, use="added to the training images as train.py does with --empty")
    add = parser.add_argument
    add("--demo", action="store_true", help="draw the synthetic data set first, then prepare it")
    add(
        "--kernel",
        default="fixed:4",
        help="kernel of the density maps: fixed:SIGMA, adaptive or dots (default fixed:4)",
    )
    add("--stride", type=at_least(1), default=8, metavar="N", help="pixels per cell of the density maps (default 8)")
    add("--split-seed", type=seed, default=0, metavar="N", help="seed for choosing the validation images (default 0)")
    add("--no-cache", action="store_true", help="do not write density.h5")
    add("--out-dir", metavar="DIR", help=f"directory for both files (default {DEFAULT_WORK_DIR}/NAME)")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Check and describe the data set, and write its split and density maps."""
    arguments = parse_arguments(argv)
    from pathlib import Path

    from crowd_counting.data.demo import draw_demo
    from crowd_counting.data.density_cache import write_cache
    from crowd_counting.data.holdout import hold_out, save_split
    from crowd_counting.data.load import load_crowd
    from crowd_counting.data.points import check_decodes
    from crowd_counting.dataset_summary import print_data
    from crowd_counting.density import Kernel
    from ean_core.io.made_from import claim_outputs
    from ean_core.utils.screen import say, say_next, script

    Kernel.parse(arguments.kernel)
    if arguments.demo:
        if arguments.part not in ([], ["demo"]) or arguments.annotations:
            raise EANError("--demo draws part demo: leave out --part and --annotations")
        arguments.part = ["demo"]
        say(f"drawn: {draw_demo(Path(arguments.data_root or DEMO_ROOT))}")
    data = load_crowd(
        parts=arguments.part,
        annotations=arguments.annotations,
        data_root=arguments.data_root,
        empty=arguments.empty,
    )
    check_decodes((*data.train, *data.test))
    split = hold_out(data.train, seed=arguments.split_seed)
    print_data(data, split)
    out = Path(arguments.out_dir or Path(DEFAULT_WORK_DIR) / data_name(arguments))
    images = {"data": f"{data.name} ({data.fingerprint()})"}
    outputs = {"split.json": {**images, "split seed": arguments.split_seed}}
    if not arguments.no_cache:
        outputs["density.h5"] = {**images, "kernel": arguments.kernel, "stride": arguments.stride}
    claim_outputs(out, outputs)
    save_split(out / "split.json", data, split, seed=arguments.split_seed)
    say(f"split: {out / 'split.json'}")
    if not arguments.no_cache:
        write_cache(out / "density.h5", data, kernel=arguments.kernel, stride=arguments.stride)
        say(f"density maps: {out / 'density.h5'}")
    recipe = [] if arguments.part == ["demo"] else [LITE0]  # a recipe is found from any folder; the demo has its own
    say_next([*script("crowd_counting/train.py"), *recipe, *data_words(arguments)])


if __name__ == "__main__":
    main(sys.argv[1:])
