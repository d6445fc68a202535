"""Test crowd counters on whole images: MAE, RMSE, NAE and GAME, one row per checkpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from crowd_counting.cli import add_data_arguments, add_empty_argument
from ean_core.cli import add_own_attention, load_attention, make_parser
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python crowd_counting/test.py work_dirs/crowd_counting/part_A-se-mse/seed0 --part A
  python crowd_counting/test.py best.pth --part A B --empty NOBODY/ --out-dir results/both

Counts whole test images at batch size 1 and compares with the annotated counts, part by part, then by the number of
people in an image. A directory stands for its best.pth and final.pth. Writes test.json and CHECKPOINT_images.csv, a
table of all images with the largest errors first. RMSE is what most counting papers call MSE."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CHECKPOINT --part A [options]")
    parser.add_argument("checkpoint", metavar="CHECKPOINT|DIR", help="a best.pth or final.pth, or a seed's directory")
    add_data_arguments(parser)
    add_empty_argument(parser, use="in which every person counted is an error; reported separately")
    parser.add_argument("--out-dir", metavar="DIR", help="directory for the results (default: that of the checkpoint)")
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Score the checkpoints on the test images; print and write the results."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from crowd_counting.data.empty_scenes import load_empty_scenes
    from crowd_counting.data.load import load_crowd
    from crowd_counting.data.points import check_decodes
    from crowd_counting.evaluation import score_files
    from ean_core.utils.devices import warn_of_unused_gpu
    from ean_core.utils.files import writable
    from ean_core.utils.screen import say, say_next, script
    from ean_core.utils.shipped_files import model_path, results_folder
    from ean_core.utils.text import how_many

    warn_of_unused_gpu()
    path = model_path(arguments.checkpoint)
    if path.is_dir() and not (path / "best.pth").exists() and (seeds := sorted(path.glob("seed*/best.pth"))):
        raise EANError(
            f"{path} holds the runs of {how_many(len(seeds), 'seed')}: give one of them, such as {seeds[0].parent}"
        )
    folder = path if path.is_dir() else results_folder(path)
    out = writable(arguments.out_dir or folder)
    data = load_crowd(parts=arguments.part, annotations=arguments.annotations, data_root=arguments.data_root)
    empty = load_empty_scenes(arguments.empty, (*data.train, *data.test)) if arguments.empty is not None else ()
    check_decodes((*data.test, *empty))
    files = [path / name for name in ("best.pth", "final.pth")] if path.is_dir() else [path]
    score_files(files, data, out, empty=empty)
    say(*filter(None, (data.note, *data.remarks)))
    say(f"written: {out / 'test.json'}, {', '.join(str(out / f'{file.stem}_images.csv') for file in files)}")
    photo = data.test[0].path
    say_next([*script("crowd_counting/predict.py"), files[0], photo, "--out-dir", out / "counts"])


if __name__ == "__main__":
    main(sys.argv[1:])
