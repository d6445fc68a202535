"""Scoring and supernet training with one and with two processes, a core each (or a GPU each), at equal work.

Efficiency is the time of one process over twice the time of two: 100 % where the work is shared perfectly. Of the
gradients' all-reduce, which every training step of several processes ends with, the time is measured on its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from options import parser

from ean_core.cli import at_least
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python benchmarks/processes.py --quick                                  (seconds)
  python benchmarks/processes.py --arch resnet29 --images 1000 --steps 2
  python benchmarks/processes.py --arch resnet50 --image-size 224 --images 64 --batch-size 32   (for scaling.py)"""

WORK = ("scoring", "training", "all_reduce")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a small network", output=Path("work_dirs/speed_processes.json"), threads="1")
    add = argument_parser.add_argument
    add("--arch", default="resnet29", help="architecture (default resnet29)")
    add("--attention", default="se", help="attention (default se)")
    add(
        "--processes",
        type=at_least(1),
        nargs="+",
        default=[1, 2],
        metavar="N",
        help="numbers of processes (default 1 2)",
    )
    add("--images", type=at_least(1), default=1000, metavar="N", help="validation images per scheme (default 1000)")
    add(
        "--image-size", type=at_least(1), default=32, metavar="N", help="side in pixels (default 32; ImageNet's is 224)"
    )
    add(
        "--batch-size",
        type=at_least(1),
        default=128,
        metavar="N",
        help="images per training step, over all processes (default 128)",
    )
    add("--steps", type=at_least(1), default=2, metavar="N", help="training steps per turn (default 2)")
    add("--rounds", type=at_least(1), default=6, metavar="N", help="turns of every number of processes (default 6)")
    add("--work", choices=WORK, help=argparse.SUPPRESS)
    add("--rendezvous", help=argparse.SUPPRESS)
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.arch, arguments.images, arguments.batch_size, arguments.steps = "resnet20", 20, 8, 1
        arguments.rounds = 1
    return arguments


# -- a process --------------------------------------------------------------------------------------------------------


def run_process(arguments: argparse.Namespace) -> None:
    """One of the processes, on a core of its own where there are enough."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
    import torch
    import torch.distributed as dist
    from ab_harness import serve, set_up

    warnings.simplefilter("ignore", FutureWarning)  # of DistributedDataParallel's own options
    arguments.threads = arguments.threads or 1
    set_up(arguments)
    # All groups run on the same kind of device: two processes on CPUs say nothing of one on a GPU.
    enough = torch.cuda.device_count() >= max(arguments.processes)
    device = torch.device("cuda", rank) if enough else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{arguments.rendezvous}", rank=rank, world_size=world)
    make = {"scoring": scoring, "training": training, "all_reduce": all_reduce}[arguments.work]
    serve(make(arguments, rank, world, device))


def scoring(arguments: argparse.Namespace, rank: int, world: int, device: Any) -> Any:
    """A new scheme a turn, as in the paper's search: this process's share of the images."""
    import numpy as np
    import torch

    from ean_core.scheme import Scheme
    from ean_core.supernet.path_metric import Top1
    from ean_core.supernet.scorer import Scorer

    model, images, labels = parts(arguments, arguments.images, device)
    mine = slice(rank, None, world)
    batches = [
        {"inputs": part, "labels": wanted}
        for part, wanted in zip(images[mine].split(250), labels[mine].split(250), strict=True)
    ]
    scorer = Scorer(model.network, batches, metric=Top1(model.normalize), dtype=torch.bfloat16, max_bytes=0)
    rng = np.random.default_rng(0)

    def turn() -> dict[str, Any]:
        """Score a scheme that was not scored before."""
        return {"result": scorer([Scheme.random(model.network.stages_blocks, rng)])[0].value}

    return turn


def training(arguments: argparse.Namespace, rank: int, world: int, device: Any) -> Any:
    """Steps of the supernet on this process's share of the batch."""
    import torch
    from ab_harness import finish
    from torch.nn.parallel import DistributedDataParallel

    from ean_core.supernet.paths import draw_path

    model, images, labels = parts(arguments, arguments.batch_size, device)
    mine = slice(rank, None, world)
    wrapped = (
        DistributedDataParallel(model, find_unused_parameters=True, broadcast_buffers=False) if world > 1 else model
    )
    optim = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    step = 0

    def turn() -> dict[str, Any]:
        """Some steps, each on a path of its own."""
        nonlocal step
        for _ in range(arguments.steps):
            model.paths = [draw_path(model.network.stages_blocks, seed=0, step=step)]
            loss = wrapped(images[mine], labels[mine], mode="loss")["loss"]
            optim.zero_grad()
            loss.backward()
            optim.step()
            step += 1
        finish(device)
        return {"result": sum(float(one.detach().sum()) for one in model.parameters())}

    return turn


def all_reduce(arguments: argparse.Namespace, rank: int, world: int, device: Any) -> Any:
    """As many float32 numbers as the supernet has parameters, added up over the processes."""
    import torch
    import torch.distributed as dist
    from ab_harness import finish

    from ean_core import create_model
    from ean_core.networks import count_parameters

    count = count_parameters(create_model(arguments.arch, attention=arguments.attention))
    ones = torch.ones(count, device=device)

    def turn() -> dict[str, Any]:
        """Add the gradients of all processes up once, and time it."""
        gradients = ones.clone()
        finish(device)
        dist.barrier()
        start = time.perf_counter()
        dist.all_reduce(gradients)
        finish(device)
        return {"seconds": time.perf_counter() - start, "result": float(gradients.mean()), "bytes": 4 * count}

    return turn


def parts(arguments: argparse.Namespace, count: int, device: Any) -> tuple[Any, Any, Any]:
    """The supernet and made-up images, the same in all processes."""
    import torch

    from ean_core import create_model
    from ean_core.data.normalize import Normalize
    from ean_core.training.classifier import SupernetClassifier

    torch.manual_seed(0)
    network = create_model(arguments.arch, attention=arguments.attention).to(memory_format=torch.channels_last)
    normalize = Normalize((0.5,) * 3, (0.25,) * 3, channels_last=True)
    side = arguments.image_size
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)
    model = SupernetClassifier(network, normalize, precision="bfloat16").to(device)
    return model, images.to(device), torch.randint(0, 100, (count,)).to(device)


# -- the comparison ---------------------------------------------------------------------------------------------------


class Group:
    """Processes that do a piece of work together; the slowest one's time counts."""

    def __init__(self, work: str, count: int, place: str) -> None:
        from ab_harness import Side

        self.members = [
            Side(
                __file__,
                [*sys.argv[1:], "--work", work, "--rendezvous", f"{place}/{work}{count}"],
                RANK=str(rank),
                WORLD_SIZE=str(count),
                LOCAL_WORLD_SIZE=str(count),
                OMP_NUM_THREADS="1",
            )
            for rank in range(count)
        ]

    def __call__(self) -> dict[str, Any]:
        for member in self.members:
            member.begin()
        turns = [member.finish() for member in self.members]
        return {
            **turns[0],
            "seconds": max(turn["seconds"] for turn in turns),
            "same": len({turn["result"] for turn in turns}) == 1,
        }

    def close(self) -> None:
        """End all processes of the group."""
        for member in self.members:
            member.close()


def compare(arguments: argparse.Namespace, work: str, place: str) -> dict[str, Any]:
    """All numbers of processes in turns: number -> its row."""
    from ab_harness import in_words, middle, row, times_as_fast

    from ean_core.utils.text import how_many

    timings = turns_of(arguments, work, arguments.processes, place)
    fewest = str(arguments.processes[0])
    images = arguments.images if work == "scoring" else arguments.batch_size * arguments.steps
    rows = {}
    for name, turns in timings.items():
        ratio = times_as_fast(timings[fewest], turns)
        efficiency = ratio.value * int(fewest) / int(name)
        measured = {"efficiency": efficiency, "images_per_second": images / middle(turns)}
        rows[name] = {**row(timings[fewest], turns), **measured}
        print(
            f"{work:<11}{how_many(int(name), 'process')}: {middle(turns):.2f} s, {in_words(ratio)} as fast"
            f", efficiency {100 * efficiency:.0f} %, {measured['images_per_second']:.1f} images per second"
        )
    return rows


def reduced(arguments: argparse.Namespace, place: str) -> dict[str, Any]:
    """The all-reduce between all numbers of processes that are several.

    Bytes a second as `docs/scaling.md` has them: what each of N processes sends by the usual algorithm, 2 (N - 1) / N
    of the gradients, by the time.
    """
    from ab_harness import middle, seconds

    several = [count for count in arguments.processes if count > 1]
    rows = {}
    for name, turns in (turns_of(arguments, "all_reduce", several, place) if several else {}).items():
        sent = 2 * (int(name) - 1) / int(name) * turns[0]["bytes"]
        rows[name] = {"seconds": seconds(turns), "bytes_per_second": sent / middle(turns)}
        print(
            f"all-reduce {name} processes: {turns[0]['bytes'] / 1e6:.0f} MB in {middle(turns):.3f} s"
            f", {rows[name]['bytes_per_second'] / 1e9:.2f} GB a second"
        )
    return rows


def turns_of(
    arguments: argparse.Namespace, work: str, counts: Sequence[int], place: str
) -> dict[str, list[dict[str, Any]]]:
    """The turns of every number of processes, after a first that does not count."""
    from ab_harness import interleave

    groups = {str(count): Group(work, count, place) for count in counts}
    for group in groups.values():
        for member in group.members:
            _ = member.ready
    first = interleave(groups, 1)
    check_equal(work, list(first.values()))
    turns = interleave(groups, arguments.rounds)
    for group in groups.values():
        group.close()
    check_equal(work, [first[name] + turns[name] for name in turns])
    return turns


def check_equal(work: str, turns: Sequence[Sequence[dict[str, Any]]]) -> None:
    """The processes of a group agree to the last bit; scores do not depend on how many there are.

    Raises:
        EANError: if not.
    """
    if not all(turn["same"] for group in turns for turn in group):
        raise EANError(f"{work}: the processes of a group hold different results")
    if work == "scoring" and len({tuple(turn["result"] for turn in group) for group in turns}) > 1:
        raise EANError(f"{work}: the accuracies depend on the number of processes")


def run(arguments: argparse.Namespace) -> None:
    """Compare numbers of processes in scoring and training, time the all-reduce, and write the record."""
    from ab_harness import write

    with tempfile.TemporaryDirectory() as place:
        metrics = {work: compare(arguments, work, place) for work in ("scoring", "training")}
        metrics["all_reduce"] = reduced(arguments, place)
    write(arguments, metrics)


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_process if parsed.work else run, parsed))()
