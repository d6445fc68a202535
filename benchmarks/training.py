"""Training a supernet and a final network: images per second, and what the engine adds to a bare loop of its steps.

plain          PyTorch alone: DataLoader with workers that crop and flip, eager, float32
bare           this project's loader and model in a loop of four lines, otherwise as plain
engine         the same steps through MMEngine's runner with the project's hooks, as the commands train
engine-malloc  engine, with the C library's memory allocator as it is
fast           engine, with channels_last and bfloat16 (`precision` and `channels_last` of a recipe)
fast-graph     fast, forward and backward passes in a CUDA graph (`cuda_graph` of a recipe); on a GPU
fast-compiled  fast, with every block through torch.compile (`compile` of a recipe); minutes to begin with
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import Any

from options import add_sides, parser

from ean_core.cli import at_least
from ean_core.utils.errors import EANError, command
from ean_core.utils.files import free_path

HELP = """\
example:
  python benchmarks/training.py --quick                                     (seconds)
  python benchmarks/training.py --arch resnet29 --network supernet --steps 4
  python benchmarks/training.py --arch resnet164 --network final --steps 1 --rounds 4

bare and engine must end with the same weights to the last bit; plain, fed with the same images, must give the same loss
within rounding."""

SIDES = ("plain", "bare", "engine", "engine-malloc", "fast", "fast-graph", "fast-compiled")
OUTPUT = "the record (default work_dirs/speed_training_ARCH_NETWORK.json)"


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a small network and batch", output=None, output_help=OUTPUT)
    add_sides(argument_parser, SIDES, default=SIDES[:6])
    add = argument_parser.add_argument
    add("--arch", default="resnet29", help="resnet29, resnet164, .. (default resnet29)")
    add("--attention", default="se", help="attention (default se)")
    add(
        "--network",
        choices=("supernet", "final"),
        default="supernet",
        help="train a supernet, a path per step, or Share-full (default supernet)",
    )
    add(
        "--batch-size",
        type=at_least(1),
        default=128,
        metavar="N",
        help="images per step (default 128, as in the paper)",
    )
    add(
        "--image-size", type=at_least(1), default=32, metavar="N", help="side in pixels (default 32; ImageNet's is 224)"
    )
    add("--steps", type=at_least(1), default=3, metavar="N", help="steps per turn (default 3)")
    add("--rounds", type=at_least(1), default=6, metavar="N", help="turns of every side (default 6)")
    add("--workers", type=at_least(0), default=2, metavar="N", help="loader workers of the plain side (default 2)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.arch, arguments.batch_size, arguments.steps, arguments.rounds = "resnet20", 8, 2, 2
        arguments.workers = 0
    default = f"work_dirs/speed_training_{arguments.arch}_{arguments.network}.json"
    arguments.output = arguments.output or free_path(default)
    return arguments


def run_side(arguments: argparse.Namespace) -> None:
    """Train in the process of one side, a number of steps a turn."""
    import torch
    from ab_harness import serve, set_up

    device = set_up(arguments, keep_memory=arguments.side not in ("plain", "engine-malloc"))
    torch.backends.cudnn.benchmark = True  # as the commands have it, and most of those who use PyTorch alone
    if arguments.side == "plain":  # whose memory holds none of the engine's libraries
        from plain_training import plain_side

        turn, ready = plain_side(arguments, device)
        return serve(turn, **ready, device=device.type)
    from engine_training import bare_side, run_engine

    if arguments.side == "bare":
        turn, ready = bare_side(arguments, device)
        return serve(turn, **ready, device=device.type)
    return run_engine(arguments, device)


# -- the comparison ---------------------------------------------------------------------------------------------------


def check_losses(ready: dict[str, dict[str, Any]], *, device: str) -> None:
    """Compare the sides' losses on the same images, before anything is timed.

    A GPU's convolutions of float32 multiply in TF32, each algorithm with another order of its sums; 164 layers that
    normalize by their batch make a thousandth of the loss of it.

    Raises:
        EANError: if one differs from plain's by more than rounding.
    """
    plain = ready["plain"]["loss"]
    for name, answer in ready.items():
        allowed = 0.02 if name.startswith("fast") or device == "cuda" else 1e-4
        if not abs(answer["loss"] - plain) <= allowed * abs(plain):
            raise EANError(f"{name} has loss {answer['loss']} where plain has {plain}: nothing is compared")


def check_weights(turns: dict[str, list[dict[str, Any]]], *, device: str) -> None:
    """Check that the engine's weights are those of the bare loop.

    To the last bit on a CPU, after every turn. A GPU adds up in an order of its own, and what that changes has grown to
    percents after ten steps of a deep network: there the weights after the first step are compared, within a fifth of
    what that step changes in ResNet-164.

    Raises:
        EANError: if not.
    """
    name, allowed = ("weights", 1e-9) if device == "cpu" else ("begun", 2e-2)
    for bare, engine in zip(turns.get("bare", []), turns.get("engine", []), strict=False):
        expected, got = bare[name], engine[name]
        if expected is not None and not abs(expected - got) <= allowed * expected:
            raise EANError(f"bare ends with weights {expected} and engine with {got}")


def run(arguments: argparse.Namespace) -> None:
    """Start the sides, check them against each other, let them take turns, show and write."""
    import torch
    from ab_harness import in_words, interleave, middle, row, started, times_as_fast, write

    from ean_core.utils.intervals import Interval

    names = [side for side in arguments.sides if side != "fast-graph" or torch.cuda.is_available()]
    if names != arguments.sides:
        print("skipped fast-graph: it needs a CUDA device, and this runs on cpu")
    with started(__file__, ["plain", *names], sys.argv[1:]) as sides:
        ready = {name: side.ready for name, side in sides.items()}
        check_losses(ready, device=ready["plain"]["device"])
        first = interleave(sides, 1)  # warm-up
        check_weights(first, device=ready["plain"]["device"])
        turns = interleave(sides, arguments.rounds)
        check_weights({name: first[name] + turns[name] for name in turns}, device=ready["plain"]["device"])
    rows = {}
    images = arguments.steps * arguments.batch_size
    for name, own in turns.items():
        rows[name] = {**row(turns["plain"], own), "images_per_second": images / middle(own)}
        print(
            f"{name:<14}{rows[name]['images_per_second']:8.1f} images per second  "
            f"{in_words(Interval(**rows[name]['times_as_fast']))}  peak {rows[name]['peak_mib']:.0f} MiB"
        )
    if {"bare", "engine"} <= rows.keys():
        over = times_as_fast(turns["engine"], turns["bare"])
        rows["engine"]["over_bare"] = over.to_record()
        print(f"engine takes {in_words(over)} as long as bare")
    write(arguments, rows)


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_side if parsed.side else run, parsed))()
