"""Scoring schemes on a supernet: schemes a second, this project's scorer against a loop written with PyTorch alone.

The proposals of a recorded search are replayed. The plain side goes through the validation images with a DataLoader
for every proposal, eager and in float32, one scheme at a time, and remembers nothing.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from options import add_sides, parser

from ean_core.cli import at_least
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python benchmarks/scoring.py --quick                                            (seconds; made-up weights)
  python benchmarks/scoring.py --config classification/configs/ean_se_r29_cifar100_subset20k_10ep.py \\
      --supernet work_dirs/ean_se_r29_cifar100_subset20k_10ep/supernet.pth \\
      --history results/ean_se_r29_cifar100_subset20k_10ep.history.jsonl

ours-float32 must find as many right answers as plain, but for rounding (1 image in 1000); ours-bfloat16, and on a GPU
also ours-float32 (which multiplies in TF32 there), must be within half a standard error of a score, or within 3 images
where hardly any answer is right."""

SIDES = ("plain", "ours-float32", "ours-bfloat16", "ours-bfloat16-compiled")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a few images and proposals", output=Path("work_dirs/speed_scoring.json"))
    add_sides(argument_parser, SIDES, default=SIDES[:3])
    add = argument_parser.add_argument
    add("--config", type=Path, default=Path("classification/configs/quickstart_digits.py"), help="the recipe")
    add("--supernet", type=Path, help="supernet.pth of a run of the recipe (default: random weights)")
    add("--history", type=Path, help="history.jsonl of a search (default: random proposals)")
    add(
        "--proposals",
        type=at_least(1),
        default=30,
        metavar="N",
        help="proposals replayed from the history (default 30)",
    )
    add("--chunk", type=at_least(1), default=5, metavar="N", help="proposals per turn (default 5)")
    add("--images", type=at_least(1), default=2000, metavar="N", help="validation images (default 2000)")
    add(
        "--batch",
        type=at_least(1),
        default=500,
        metavar="N",
        help="batch size of our sides (default 500; on a GPU 2000 is faster)",
    )
    add("--plain-batch", type=at_least(1), default=128, metavar="N", help="batch size of the plain side (default 128)")
    add("--workers", type=at_least(0), default=2, metavar="N", help="loader workers of the plain side (default 2)")
    add("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.images, arguments.proposals, arguments.chunk, arguments.workers = 40, 6, 2, 0
    return arguments


# -- a side -----------------------------------------------------------------------------------------------------------


def run_side(arguments: argparse.Namespace) -> None:
    """In the side's own process: score the checks, then a chunk of proposals a turn."""
    import torch
    from ab_harness import serve, set_up

    from classification.job import start_job
    from classification.recipe import Recipe
    from ean_core.networks.network_file import load_network
    from ean_core.scheme import Scheme

    device = set_up(arguments, keep_memory=arguments.side != "plain")
    job = start_job(Recipe.from_file(str(arguments.config)), data_root=arguments.data_root, directory=Path())
    torch.manual_seed(0)
    network = load_network(arguments.supernet)[0] if arguments.supernet else job.task.spec().build()
    network = network.eval().to(device)
    make = plain_scorer if arguments.side == "plain" else our_scorer
    blocks = network.stages_blocks
    checks = [Scheme.all_off(blocks), Scheme.all_on(blocks)]
    accuracy = make(job, network, arguments)
    checked = [accuracy([scheme])[0] for scheme in checks]
    accuracy = make(job, network, arguments)  # one that has seen nothing
    proposals = [Scheme.parse(bits, blocks=blocks) for bits in proposed(arguments, sum(blocks))]
    chunks = iter([proposals[at : at + arguments.chunk] for at in range(0, len(proposals), arguments.chunk)])

    def turn() -> dict[str, Any]:
        """The next chunk, one after another, as the paper's search proposes them."""
        return {"accuracies": [accuracy([scheme])[0] for scheme in next(chunks)]}

    serve(turn, checked=checked, images=len(val_images(job, arguments)), blocks=blocks, device=device.type)


def proposed(arguments: argparse.Namespace, count: int) -> list[str]:
    """The bits of the first proposals."""
    if arguments.history is None:
        import numpy as np

        drawn = np.random.default_rng(0).integers(0, 2, (arguments.proposals, count))
        return ["".join(map(str, bits)) for bits in drawn.tolist()]
    from ean_core.search.history import read_lines

    return [line.bits for line in read_lines(arguments.history) if not line.final][: arguments.proposals]


def val_images(job: Any, arguments: argparse.Namespace) -> Any:
    """Indices of the validation images; every so many-th one, since they are ordered by class."""
    val = job.task.images.split()[1]
    return val[:: max(1, len(val) // arguments.images)][: arguments.images]


def our_scorer(job: Any, network: Any, arguments: argparse.Namespace) -> Any:
    """`ean_core.supernet.scorer.Scorer`, as the search uses it."""
    import torch

    from ean_core.supernet.path_metric import Top1
    from ean_core.supernet.prefix_cache import spare_memory
    from ean_core.supernet.scorer import Scorer

    network = network.to(memory_format=torch.channels_last)
    max_bytes = spare_memory(next(network.parameters()).device) // len(
        arguments.sides
    )  # both sides cache at the same time
    images = job.task.images
    scorer = Scorer(
        network,
        images.eval_loader(images.data.train, val_images(job, arguments), batch_size=arguments.batch, shared=False),
        metric=Top1(images.normalize(channels_last=True)),
        dtype=torch.bfloat16 if "bfloat16" in arguments.side else torch.float32,
        compile="compiled" in arguments.side,
        max_bytes=max_bytes,
    )
    return lambda schemes: [score.value for score in scorer(schemes)]


def plain_scorer(job: Any, network: Any, arguments: argparse.Namespace) -> Any:
    """As a user of PyTorch would write it."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    indices = val_images(job, arguments)
    images, labels = job.task.data.train.images[indices], job.task.data.train.labels[indices]
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (job.task.data.mean, job.task.data.std))

    class Images(Dataset):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return (images[index].float() / 255 - mean) / std, labels[index]

    device = next(network.parameters()).device
    loader = DataLoader(
        Images(),
        batch_size=arguments.plain_batch,
        num_workers=arguments.workers,
        pin_memory=device.type == "cuda",
    )

    @torch.no_grad()
    def accuracy(schemes: list) -> list[float]:
        network.set_scheme(schemes[0])
        correct = total = 0
        for inputs, wanted in loader:
            logits = network(inputs.to(device, non_blocking=True))
            correct += (logits.argmax(1).cpu() == wanted).sum().item()
            total += len(wanted)
        return [100.0 * correct / total]

    return accuracy


# -- the comparison ---------------------------------------------------------------------------------------------------


def check_equal(side: str, accuracies: list[float], plain: list[float], images: int, *, device: str) -> float:
    """The largest difference from the plain side's accuracies, in points.

    Raises:
        EANError: if it is more than rounding.
    """
    worst = max(abs(one - other) for one, other in zip(accuracies, plain, strict=True))
    mean, image = sum(plain) / len(plain), 100.0 / images
    error = (mean * (100 - mean) / images) ** 0.5
    low = "bfloat16" in side or device == "cuda"
    allowed = max(error / 2, 3 * image) if low else image * max(1, images // 1000)
    if worst > allowed + 1e-9:
        raise EANError(f"{side} differs from plain by {worst:.3f} points and may by {allowed:.3f}: nothing is compared")
    return worst


def run(arguments: argparse.Namespace) -> None:
    """Start the sides, check them against each other, let them take turns, show and write."""
    from ab_harness import in_words, interleave, row, seconds, started, write

    from ean_core.utils.intervals import Interval

    with started(__file__, ["plain", *arguments.sides], sys.argv[1:]) as sides:
        ready = {name: side.ready for name, side in sides.items()}
        images, device = ready["plain"]["images"], ready["plain"]["device"]
        for name in sides:
            check_equal(name, ready[name]["checked"], ready["plain"]["checked"], images, device=device)
        bits = proposed(arguments, sum(ready["plain"]["blocks"]))
        timings = interleave(sides, -(-len(bits) // arguments.chunk))
    scored = {name: [one for turn in turns for one in turn["accuracies"]] for name, turns in timings.items()}
    rows = {}
    for name, turns in timings.items():
        measured = row(timings["plain"], turns)
        rows[name] = {
            "seconds": measured["seconds"],
            "schemes_per_second": len(bits) / sum(seconds(turns)),
            "times_as_fast_median_turn": measured["times_as_fast"],
            "times_as_fast_whole_stretch": sum(seconds(timings["plain"])) / sum(seconds(turns)),
            "largest_difference_points": check_equal(name, scored[name], scored["plain"], images, device=device),
            "peak_mib": measured["peak_mib"],
        }
        print(
            f"{name:<24}{rows[name]['schemes_per_second']:8.3f} schemes a second  whole stretch "
            f"{rows[name]['times_as_fast_whole_stretch']:5.2f}x  median turn "
            f"{in_words(Interval(**measured['times_as_fast']))}  accuracy within "
            f"{rows[name]['largest_difference_points']:.3f} points of plain  peak {measured['peak_mib']:.0f} MiB"
        )
    print(f"{len(bits)} proposals, {len(set(bits))} different, {images} validation images, {arguments.config.stem}")
    write(arguments, rows, different=len(set(bits)), images=images)


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_side if parsed.side else run, parsed))()
