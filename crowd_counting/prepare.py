"""Look at a crowd data set: check every file, split it, and render density maps for those who want them cached."""

from __future__ import annotations

import argparse
from functools import partial

from crowd_counting.arguments import OUT, add_data, data_name
from ean_core.cli import at_least, seed

HELP = """\
example:
  python crowd_counting/prepare.py --part A
  python crowd_counting/prepare.py --part B --data-root DIR --kernel adaptive
  python crowd_counting/prepare.py --demo              draws a small made-up crowd into data/ShanghaiTech/part_demo
  python crowd_counting/prepare.py --annotations points.json

Checks counts, pairs, sizes and points, decodes every image, prints a table, and writes split.json (the seeded
validation images) and density.h5 (maps that train.py can use with --cfg-options data.cache=FILE)."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s --part A [options]")
    add_data(parser)
    add = parser.add_argument
    add("--demo", action="store_true", help="draw the made-up set first, and prepare it")
    add("--kernel", default="fixed:4", help="of the maps: fixed:SIGMA, adaptive or dots (default fixed:4)")
    add("--stride", type=at_least(1), default=8, metavar="N", help="pixels per cell of the maps (default 8)")
    add("--split-seed", type=seed, default=0, metavar="N", help="of the validation images (default 0)")
    add("--no-cache", action="store_true", help="leave out density.h5")
    add("--out-dir", metavar="DIR", help=f"where both files go (default {OUT}/NAME)")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Check, and write."""
    from pathlib import Path

    from crowd_counting.data.demo import draw_demo
    from crowd_counting.data.density_cache import write_cache
    from crowd_counting.data.holdout import hold_out, save_split
    from crowd_counting.data.points import check_decodes
    from crowd_counting.density import Kernel
    from crowd_counting.job import load_crowd
    from crowd_counting.report import print_data
    from ean_core.utils.errors import EANError

    Kernel.parse(arguments.kernel)
    if arguments.demo:
        if arguments.part not in (None, "demo") or arguments.annotations:
            raise EANError("--demo draws part demo: leave out --part and --annotations")
        arguments.part = "demo"
        print(f"drawn: {draw_demo(Path(arguments.data_root))}")
    data = load_crowd(part=arguments.part, annotations=arguments.annotations, data_root=arguments.data_root)
    check_decodes((*data.train, *data.test))
    split = hold_out(data.train, seed=arguments.split_seed)
    print_data(data, split)
    out = Path(arguments.out_dir or Path(OUT) / data_name(arguments))
    save_split(out / "split.json", data, split, seed=arguments.split_seed)
    print(f"split: {out / 'split.json'}")
    if not arguments.no_cache:
        write_cache(out / "density.h5", data, kernel=arguments.kernel, stride=arguments.stride)
        print(f"maps:  {out / 'density.h5'}")


if __name__ == "__main__":
    parsed = parse_arguments()  # first, for --help's sake
    from ean_core.utils.errors import command

    command(partial(run, parsed))()
