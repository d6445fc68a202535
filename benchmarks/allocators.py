"""One image through a network, with one memory allocator or another: what taking and giving back memory costs.

libc      malloc as it is
kept      with `ean_core.utils.allocator`'s settings, as the commands and the other comparisons have
tcmalloc  and
jemalloc  in place of malloc, by LD_PRELOAD, where they are installed (Debian: libtcmalloc-minimal4, libjemalloc2)

A layer of the network takes some dozens of small pieces of memory besides its features. For a single image that is a
part of the time that can be seen; in a large batch it is not.
"""

from __future__ import annotations

import argparse
import ctypes.util
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from options import add_sides, parser

from ean_core.cli import at_least
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python benchmarks/allocators.py --quick                                      (seconds)
  python benchmarks/allocators.py --threads 1

All sides must give the same logits to the last bit."""

SIDES = ("libc", "kept", "tcmalloc", "jemalloc")
LIBRARIES = {"tcmalloc": ("tcmalloc_minimal", "tcmalloc"), "jemalloc": ("jemalloc",)}


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a small network", output=Path("work_dirs/speed_allocators.json"))
    add_sides(argument_parser, SIDES, default=SIDES)
    add = argument_parser.add_argument
    add("--arch", default="resnet164", help="architecture (default resnet164)")
    add("--attention", default="se", help="attention of every block (default se)")
    add("--form", default="compiled", help="a mode of tools/benchmark.py (default compiled)")
    add("--batch-size", type=at_least(1), default=1, metavar="N", help="images per call (default 1)")
    add("--image-size", type=at_least(1), default=32, metavar="N", help="side in pixels (default 32, CIFAR's)")
    add("--calls", type=at_least(1), default=20, metavar="N", help="calls per turn (default 20)")
    add("--rounds", type=at_least(1), default=15, metavar="N", help="turns of every side (default 15)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.arch, arguments.form, arguments.calls, arguments.rounds = "resnet20", "folded", 2, 2
    return arguments


def library_of(side: str) -> str | None:
    """What to preload for a side: "" for malloc itself, None where it is not installed."""
    if side not in LIBRARIES:
        return ""
    return next((found for name in LIBRARIES[side] if (found := ctypes.util.find_library(name))), None)


def run_side(arguments: argparse.Namespace) -> None:
    """Predict in the process of one side, which has an allocator of its own."""
    import torch
    from ab_harness import finish, serve, set_up

    from ean_core import create_model
    from ean_core.deploy.modes import optimize_for_inference

    device = set_up(arguments, keep_memory=arguments.side == "kept")
    torch.manual_seed(0)
    network = create_model(arguments.arch, num_classes=100, attention=arguments.attention).eval().to(device)
    side = arguments.image_size
    images = torch.randn(arguments.batch_size, 3, side, side, device=device)
    form = optimize_for_inference(network, images, mode=arguments.form)

    def turn() -> dict[str, Any]:
        """Predict the batch `--calls` times."""
        for _ in range(arguments.calls):
            form(images)
        finish(device)
        return {}

    serve(turn, logits=form(images).double().abs().sum().item())


def run(arguments: argparse.Namespace) -> None:
    """Start the sides, check them against each other, let them take turns, show and write."""
    from ab_harness import Side, in_words, interleave, middle, row, write

    from ean_core.utils.intervals import Interval

    libraries = {side: library_of(side) for side in dict.fromkeys(["libc", *arguments.sides])}
    for side in [side for side, library in libraries.items() if library is None]:
        print(f"skipped {side}: it is not installed")
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        del os.environ[name]  # "kept" would leave it to them
    with ExitStack() as stack:
        sides = {}
        for name, library in libraries.items():
            if library is not None:
                sides[name] = Side(__file__, [*sys.argv[1:], "--side", name], LD_PRELOAD=library)
                stack.callback(sides[name].close)
        logits = {name: side.ready["logits"] for name, side in sides.items()}
        if len(set(logits.values())) > 1:
            raise EANError(f"the sides give other logits, {logits}: nothing is compared")
        interleave(sides, 1)  # warm-up
        timings = interleave(sides, arguments.rounds)
    rows = {}
    for name, turns in timings.items():
        rows[name] = {"milliseconds": 1000 * middle(turns) / arguments.calls, **row(timings["libc"], turns)}
        ratio = in_words(Interval(**rows[name]["times_as_fast"]))
        print(f"{name:<9}{rows[name]['milliseconds']:8.3f} ms  {ratio} as fast as libc's")
    write(arguments, rows)


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_side if parsed.side else run, parsed))()
