"""Counting: density maps of a batch against the usual SciPy loop, and prediction on large images, whole and in tiles.

The SciPy loop is the one of the published crowd counters: for every head a map with one dot, filtered with a Gaussian
and added up; here each is divided by its sum, as our maps are, so that both sides give the same maps.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from options import parser

from ean_core.cli import at_least, positive
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python benchmarks/counting.py --quick                                        (seconds)
  python benchmarks/counting.py --images 4 --heads 150 --rounds 5
  python benchmarks/counting.py --part prediction --megapixels 2 8 --arch resnet29"""

SIDES = ("whole", "tiles")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="small images", output=Path("work_dirs/speed_counting.json"))
    add = argument_parser.add_argument
    add(
        "--part",
        nargs="+",
        choices=("density", "prediction"),
        default=["density", "prediction"],
        help="what to measure (default both)",
    )
    add("--images", type=at_least(1), default=4, metavar="N", help="images per batch of density maps (default 4)")
    add("--heads", type=at_least(1), default=150, metavar="N", help="heads per image (default 150)")
    add(
        "--size",
        type=at_least(1),
        nargs=2,
        default=[768, 1024],
        metavar=("H", "W"),
        help="height and width of an image in pixels (default 768 1024)",
    )
    add("--stride", type=at_least(1), default=8, metavar="N", help="pixels per side of a cell (default 8)")
    add("--rounds", type=at_least(1), default=5, metavar="N", help="turns of every side (default 5)")
    add("--arch", default="resnet50_nobias", help="the counter's backbone (default resnet50_nobias)")
    add("--attention", help="the counter's (default none, with which tiles and whole images give the same)")
    add(
        "--megapixels",
        type=positive,
        nargs="+",
        default=[2, 8],
        metavar="N",
        help="sizes of the predicted images (default 2 8)",
    )
    add("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.images, arguments.heads, arguments.size, arguments.rounds = 2, 10, [96, 128], 2
        arguments.arch, arguments.megapixels = "resnet20", [0.1]
    return arguments


# -- density maps -----------------------------------------------------------------------------------------------------


def scipy_maps(heads: list[Any], sigmas: list[Any], size: tuple[int, int], stride: int) -> Any:
    """float32 (B, H / stride, W / stride), a head at a time."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    height, width = size
    maps = []
    for points, spread in zip(heads, sigmas, strict=True):
        total = np.zeros(size, dtype=np.float32)
        for (x, y), sigma in zip(points, spread, strict=True):
            head = np.zeros(size, dtype=np.float32)
            head[int(y), int(x)] = 1.0
            head = gaussian_filter(head, float(sigma), mode="constant", truncate=6.0)
            total += head / head.sum()
        maps.append(total.reshape(height // stride, stride, width // stride, stride).sum(axis=(1, 3)))
    return np.stack(maps)


def compare_density(arguments: argparse.Namespace, kernel: str) -> dict[str, Any]:
    """Both sides in turns, in this process: neither changes anything for the other."""
    import numpy as np
    import torch
    from ab_harness import in_words, interleave, seconds, timed, times_as_fast

    from crowd_counting.density import Kernel, render_batch

    rng, size, stride = np.random.default_rng(0), tuple(arguments.size), arguments.stride
    if any(side % stride for side in size):
        raise EANError(f"--size {size} must be multiples of --stride {stride} here")
    heads = [
        np.stack([rng.integers(0, side, arguments.heads) for side in size[::-1]], axis=1).astype(np.float32)
        for _ in range(arguments.images)
    ]
    sigmas = [Kernel.parse(kernel).sigmas(points) for points in heads]
    points, spread = [torch.from_numpy(one) for one in heads], [torch.from_numpy(one) for one in sigmas]
    sizes = torch.tensor([size] * len(heads))

    def ours() -> Any:
        return render_batch(points, sizes, spread, shape=size, stride=stride)

    plain_maps, our_maps = scipy_maps(heads, sigmas, size, stride), ours().numpy()
    difference = float(np.abs(plain_maps - our_maps).max() / plain_maps.max())
    if difference > 1e-3 or not np.allclose(our_maps.sum(axis=(1, 2)), arguments.heads, rtol=1e-4):
        raise EANError(f"the maps differ by {difference:.2g} of the highest cell: nothing is compared")
    timings = interleave(
        {
            "plain": lambda: timed(lambda: {"kept": scipy_maps(heads, sigmas, size, stride) is None}),
            "ours": lambda: timed(lambda: {"kept": ours() is None}),
        },
        arguments.rounds,
    )
    ratio = times_as_fast(timings["plain"], timings["ours"])
    print(f"density maps, {kernel:<9} {in_words(ratio)} as fast as SciPy; the maps differ by {difference:.1e}")
    times = {name: seconds(turns) for name, turns in timings.items()}
    return {"seconds": times, "times_as_fast": ratio.to_record(), "difference": difference}


# -- prediction -------------------------------------------------------------------------------------------------------


def run_side(arguments: argparse.Namespace) -> None:
    """Count one image after another, whole or in tiles, in a process of its own for the peak of its memory."""
    import numpy as np
    import torch
    from ab_harness import serve, set_up

    from crowd_counting.model.network import CounterSpec
    from crowd_counting.model.tiles import predict_density
    from crowd_counting.model.training_model import CountingModel
    from ean_core.data.normalize import Normalize

    device = set_up(arguments)
    torch.manual_seed(0)
    counter = CounterSpec(arguments.arch, arguments.attention).build()
    model = CountingModel(counter, Normalize((0.5,) * 3, (0.25,) * 3)).eval().to(device)
    side = round((arguments.megapixels[0] * 1e6) ** 0.5) // 64 * 64
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    tile = side if arguments.side == "whole" else min(768, side // 2)

    def turn() -> dict[str, Any]:
        """Count the heads of the image once."""
        density, tiles = predict_density(model, pixels, tile=tile, overlap=min(192, tile // 4))
        return {"count": float(density.sum()), "tiles": tiles}

    serve(turn, side=side)


def compare_prediction(arguments: argparse.Namespace, megapixels: float) -> dict[str, Any]:
    """Times and memory of counting an image whole and in tiles, in turns."""
    from ab_harness import image_row, in_words, interleave, started, times_as_fast

    given = ["--arch", arguments.arch, "--threads", arguments.threads, "--megapixels", megapixels]
    given += ["--attention", arguments.attention] if arguments.attention else []
    with started(__file__, SIDES, given) as sides:
        pixels = {name: side.ready["side"] ** 2 for name, side in sides.items()}["whole"]
        check_counts(interleave(sides, 1))
        timings = interleave(sides, arguments.rounds)
    counts = {name: turns[0]["count"] for name, turns in timings.items()}
    rows = {}
    for name, turns in timings.items():
        measured = image_row(timings["whole"], turns, pixels)
        rows[name] = {**measured, "tiles": turns[0]["tiles"], "count": counts[name]}
        print(
            f"prediction, {pixels / 1e6:.1f} megapixels, {name} ({turns[0]['tiles']} tiles): "
            f"{measured['megapixels_per_second']:.2f} megapixels a second, peak {measured['peak_mib']:.0f} MiB, "
            f"count {counts[name]:.2f}"
        )
    print(f"tiles: {in_words(times_as_fast(timings['whole'], timings['tiles']))} as fast as whole")
    return rows


def check_counts(turns: dict[str, list[dict[str, Any]]]) -> None:
    """Tiles count what the whole image does, but for what the tiles' borders change.

    Raises:
        EANError: if not.
    """
    whole, tiles = (turns[name][0]["count"] for name in SIDES)
    if not abs(whole - tiles) <= 0.05 * abs(whole):
        raise EANError(f"whole counts {whole:.2f} and tiles count {tiles:.2f}: nothing is compared")


def run(arguments: argparse.Namespace) -> None:
    """Run the comparisons that were asked for, and write the record."""
    import torch
    from ab_harness import write

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    metrics: dict[str, Any] = {}
    if "density" in arguments.part:
        metrics["density"] = {kernel: compare_density(arguments, kernel) for kernel in ("fixed:4", "adaptive")}
    if "prediction" in arguments.part:
        sizes = {f"{size:g} megapixels": compare_prediction(arguments, size) for size in arguments.megapixels}
        metrics["prediction"] = sizes
    write(arguments, metrics)


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_side if parsed.side else run, parsed))()
