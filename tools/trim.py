"""Trim a trained network: what each attention call is worth, what it costs here, and the network without the rest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ean_core.cli import add_own_attention, at_least, load_attention, make_parser, not_negative
from ean_core.utils.errors import EANError, command

if TYPE_CHECKING:
    from ean_core.inference.loaded_model import LoadedModel

TIMM = "timm:"
"""Begins the name of a network of timm's, in the place of a file."""
HELP = """\
example:
  python tools/trim.py work_dirs/quickstart_digits/share-full-seed0/classifier.pth
  python tools/trim.py share-full.pth --data-root data --max-drop 0.3 --finetune 5
  python tools/trim.py timm:seresnet50 --data-root imagenet --max-increment 5
  python tools/trim.py best.pth                                                  a crowd counter
  python tools/trim.py last.pth --config segmentation/configs/ean_se_demo.py     a segmentor

Replaces attention calls by their mean masks. A mean mask is a constant scale per channel; it is folded into the batch
norm or convolution next to it, and costs nothing. Measures what each replacement loses on images that the network was
not trained on, and what each call costs on this device; replaces the calls one by one, the least valuable first, and
keeps the network that stays within --max-drop or --max-increment. Writes trim.json, trim.png, the trimmed network and,
for a network with stages, scheme.json with the connections that are left, which tools/train_cls.py --scheme trains from
scratch: a search without a supernet. Mean masks and batch norm calibration use training images; the test images are
used once, for the result."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CHECKPOINT [options]")
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a network file of any task, or timm: and the name of timm's network")
    add("--weights", metavar="FILE", help="public weights of a timm: network (default timm's cache, or a download)")
    add("--config", metavar="FILE", help="config of a segmentor; it is code and gets executed")
    add("--data-root", metavar="DIR", help="folder of the data sets (default data)")
    parts = ("A", "B", "demo")
    add("--part", nargs="+", choices=parts, help="for a counter: part A or B of ShanghaiTech, or the demo")
    add("--annotations", metavar="FILE", help="for a counter: a .json or .csv of points on your own photos")
    add("--empty", metavar="FOLDER", help="for a counter: the photos without people that it was trained with")
    add("--test-is-validation", action="store_true", help="choose on all test images, so that none are left to test on")
    add("--test-root", metavar="DIR", help="folder of the test images, if it is not under --data-root")
    add("--val-images", type=at_least(2), metavar="N", help="for a classifier: images to choose on (default all)")
    add(
        "--max-drop",
        type=not_negative,
        metavar="X",
        help="largest loss allowed, in the metric's unit (default 0.3 points of a percentage, or 1 %% of the MAE)",
    )
    add(
        "--max-increment",
        type=not_negative,
        metavar="PERCENT",
        help="largest time increment of attention allowed",
    )
    add("--finetune", type=at_least(0), default=0, metavar="N", help="train the trimmed network for N more epochs")
    add("--work-dir", type=Path, metavar="DIR", help="directory of the results (default trim/ next to CHECKPOINT)")
    add("--resume", action="store_true", help="reuse what was measured in the work directory; the limits may differ")
    add("--mode", default="eager", help="inference mode to time: eager, folded, compiled, .. (default eager)")
    add(
        "--batch-size",
        type=at_least(1),
        metavar="N",
        help="images per timed forward pass (default 50 if small, else 1)",
    )
    add("--rounds", type=at_least(2), default=30, metavar="N", help="timed rounds, networks interleaved (default 30)")
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Load the network and its images, and trim it."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from ean_core.deploy.mean_mask import find_calls
    from ean_core.deploy.modes import check_mode
    from ean_core.pipeline.trim.greedy import Limits
    from ean_core.pipeline.trim.run import TrimSettings, trim
    from ean_core.pipeline.trim.sentence import print_tables
    from ean_core.utils.screen import say, say_next, say_verdict, script
    from ean_core.utils.shipped_files import results_folder
    from ean_core.utils.task_registry import task_of_kind
    from ean_core.utils.text import how_many

    check_mode(arguments.mode)
    model = load_network(arguments)
    entry = task_of_kind(model.kind)
    task = entry.start_trim(model, arguments)
    public = arguments.checkpoint.startswith(TIMM)
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
    say_verdict([f"{metrics['sentence']}."])
    written = [directory / name for name in metrics["files"]]  # the network first, and the config that it needs
    config = next((path for path in written if path.suffix == ".py"), None)
    page = [*script("tools/report.py"), "--html", directory / "report.html", directory]
    say_next(*([entry.predict_words(written[0], config=config)] if written else []), page)


def load_network(arguments: argparse.Namespace) -> LoadedModel:
    """The network to trim: of a file, or timm's with public weights.

    Raises:
        EANError: if it cannot be loaded, has no attention, or flags do not go with it.
    """
    from ean_core.deploy.mean_mask import find_calls
    from ean_core.inference.loaded_model import load_file
    from ean_core.inference.timm_classifier import load_timm_weights, on_meta
    from ean_core.pipeline.trim.run import check_calls

    name = arguments.checkpoint
    if not name.startswith(TIMM):
        if arguments.weights:
            raise EANError(f"--weights is for a timm: network, and {name} is a file with its own")
        model = load_file(name, config=arguments.config)
    else:
        if arguments.data_root is None:
            raise EANError(f"{name} comes without data: give --data-root, with a folder for each class")
        check_calls(len(find_calls(on_meta(name.removeprefix(TIMM)))), name)  # before anything is downloaded
        model = load_timm_weights(name, arguments.weights)
    check_calls(len(find_calls(model.network)), str(model.path))
    return model


if __name__ == "__main__":
    main(sys.argv[1:])
