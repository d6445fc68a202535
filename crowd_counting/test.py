"""Test crowd counters on whole images: MAE, RMSE, NAE and GAME, each row from one and the same checkpoint."""

from __future__ import annotations

import argparse
from functools import partial

from crowd_counting.arguments import add_data
from ean_core.cli import add_own_attention, load_attention

HELP = """\
example:
  python crowd_counting/test.py work_dirs/crowd_counting/part_A-se-mse/seed0 --part A
  python crowd_counting/test.py best.pth --part B --out-dir results/part_B

Counts the test images whole, at batch 1, and compares with the annotated numbers. A directory stands for the best.pth
and final.pth in it. Writes test.json and a table of all images, CHECKPOINT_images.csv, largest errors first. RMSE is
what most counting papers call MSE."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=raw, usage="%(prog)s CHECKPOINT --part A [options]"
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT|DIR", help="a best.pth or final.pth, or a seed's directory")
    add_data(parser)
    parser.add_argument("--out-dir", metavar="DIR", help="where the results go (default beside the checkpoint)")
    add_own_attention(parser)
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> None:
    """Test, and write."""
    load_attention(arguments.attention)
    from pathlib import Path

    from crowd_counting.data.points import check_decodes
    from crowd_counting.evaluation import score_files
    from crowd_counting.job import load_crowd
    from ean_core.utils.devices import warn_of_unused_gpu
    from ean_core.utils.errors import EANError
    from ean_core.utils.files import writable
    from ean_core.utils.text import how_many

    warn_of_unused_gpu()
    given = Path(arguments.checkpoint)
    if given.is_dir() and not (given / "best.pth").exists() and (seeds := sorted(given.glob("seed*/best.pth"))):
        raise EANError(
            f"{given} holds the runs of {how_many(len(seeds), 'seed')}: give the directory of one, as {seeds[0].parent}"
        )
    folder = given if given.is_dir() else given.parent
    out = writable(arguments.out_dir or folder)
    data = load_crowd(part=arguments.part, annotations=arguments.annotations, data_root=arguments.data_root)
    check_decodes(data.test)
    files = [given / name for name in ("best.pth", "final.pth")] if given.is_dir() else [given]
    score_files(files, data, out)
    for line in filter(None, (data.note, *data.remarks)):
        print(line)
    print(f"written: {out / 'test.json'}, {', '.join(str(out / f'{file.stem}_images.csv') for file in files)}")


if __name__ == "__main__":
    parsed = parse_arguments()  # first, for --help's sake
    from ean_core.utils.errors import command

    command(partial(run, parsed))()
