"""Trim a trained network: what each attention call is worth, what it costs here, and the network without the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ean_core.cli import add_own_attention, at_least, load_attention, make_parser, not_negative
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python tools/trim.py work_dirs/quickstart_digits/share-full-seed0/classifier.pth
  python tools/trim.py share-full.pth --data-root data --max-drop 0.3 --finetune 5
  python tools/trim.py timm:seresnet50 --data-root imagenet --max-increment 5
  python tools/trim.py best.pth --part A                                         a crowd counter
  python tools/trim.py last.pth --config segmentation/configs/ean_se_demo.py     a segmentor

Puts the mean mask of each attention call in its place, a constant scale of the channels that is folded into the batch
norm or the convolution beside it and costs nothing. Measures what that loses, on images that the network was not
trained on, and what the call costs here, folds the calls one after the other, those first that are missed least, and
takes the network within --max-drop or --max-increment. Writes trim.json, trim.png, the trimmed network and, for one
with stages, scheme.json with the connections that are left, which tools/train_cls.py --scheme trains from scratch: a
search without a supernet. Mean masks and batch norm calibration use training images; test images are only reported on
at the end."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CHECKPOINT [options]")
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a network file of any task, or timm: and the name of timm's network")
    add("--weights", metavar="FILE", help="public weights of a timm: network (default timm's cache, or a download)")
    add("--config", metavar="FILE", help="of a segmentor; it is a program and runs")
    add("--data-root", metavar="DIR", help="where the data sets are (default data)")
    add("--part", choices=("A", "B", "demo"), help="of a counter: ShanghaiTech's part A or B, or the demo")
    add("--annotations", metavar="FILE", help="of a counter: your own annotated photos")
    add("--test-is-validation", action="store_true", help="all of the data's test part chooses; nothing is tested")
    add("--test-root", metavar="DIR", help="the test images are there, not under --data-root")
    add("--val-images", type=at_least(2), metavar="N", help="of a classifier: choose by so many of them (default all)")
    add("--max-drop", type=not_negative, metavar="X", help="most that may be lost: points, or 0.1 for an MAE (0.3)")
    add("--max-increment", type=not_negative, metavar="PERCENT", help="most that attention may add to the time")
    add("--finetune", type=at_least(0), default=0, metavar="N", help="train the trimmed network on for N epochs")
    add("--work-dir", type=Path, metavar="DIR", help="where everything is written (default trim/ beside CHECKPOINT)")
    add("--resume", action="store_true", help="use what the work directory has measured; limits may differ")
    add("--mode", default="eager", help="of inference, in which times are taken: eager, folded, compiled .. (eager)")
    add("--batch-size", type=at_least(1), metavar="N", help="images per forward when timing (50 small ones, or 1)")
    add("--rounds", type=at_least(2), default=30, metavar="N", help="of timing, networks interleaved (default 30)")
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Load the network and its images, and trim it."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from ean_core.deploy.mean_mask import find_calls
    from ean_core.deploy.modes import check_mode
    from ean_core.inference.loaded_model import load_file
    from ean_core.inference.timm_classifier import load_timm_weights, on_meta
    from ean_core.pipeline.trim.greedy import Limits
    from ean_core.pipeline.trim.run import TrimSettings, check_calls, trim
    from ean_core.pipeline.trim.sentence import print_tables
    from ean_core.utils.screen import say
    from ean_core.utils.shipped_files import results_folder
    from ean_core.utils.task_registry import task_of_kind
    from ean_core.utils.text import how_many

    check_mode(arguments.mode)
    public = arguments.checkpoint.startswith("timm:")
    if arguments.weights and not public:
        raise EANError(f"--weights is for a timm: network, and {arguments.checkpoint} is a file with its own")
    if public and arguments.data_root is None:
        raise EANError(f"{arguments.checkpoint} comes without data: give --data-root, with a folder for each class")
    if public:  # before anything is downloaded
        check_calls(len(find_calls(on_meta(arguments.checkpoint.removeprefix("timm:")))), arguments.checkpoint)
    model = (
        load_timm_weights(arguments.checkpoint, arguments.weights)
        if public
        else load_file(arguments.checkpoint, config=arguments.config)
    )
    check_calls(len(find_calls(model.network)), str(model.path))
    task = task_of_kind(model.kind).start_trim(model, arguments)
    folder = Path("work_dirs") if public else results_folder(model.path)
    default = folder / f"trim_{model.path.name if public else model.path.stem}"
    directory, limits = arguments.work_dir or default, Limits(arguments.max_drop, arguments.max_increment)
    calls = how_many(len(find_calls(model.network)), "attention call")
    say(f"{model.path}: {model.kind}, {calls}; {task.parts.describe()}")
    settings = TrimSettings(
        limits=limits,
        finetune=arguments.finetune,
        mode=arguments.mode,
        batch_size=arguments.batch_size,
        rounds=arguments.rounds,
    )
    metrics = trim(task, settings, directory=directory, resume=arguments.resume)
    print_tables(metrics)
    say(f"files in {directory}/: trim.json  trim.png  {'  '.join(metrics['files'])}")
    say(f"{metrics['sentence']}.")


if __name__ == "__main__":
    main(sys.argv[1:])
