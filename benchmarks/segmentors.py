"""Segmenting large images: megapixels a second and peak memory, as mmsegmentation does it and in our forms.

Plain is the segmentor's own forward to logits of the image's size, eager and in float32; the other sides are forms of
`ean_core.deploy.modes`, each in a process of its own for the peak of its memory.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from options import add_sides, parser

from ean_core.cli import at_least, positive
from ean_core.utils.errors import command

HELP = """\
example:
  python benchmarks/segmentors.py --quick                                                  (seconds)
  python benchmarks/segmentors.py --config segmentation/configs/ean_se_voc.py --megapixels 0.5 2
  python benchmarks/segmentors.py --sides plain folded bf16 fused_bf16                     (CUDA)

Every side must give plain's logits, but for the rounding that its form is allowed."""
FORMS = ("channels_last", "folded", "bf16", "compiled", "cuda_graph", "fused", "fused_bf16")
CONFIGS = Path(__file__).resolve().parents[1] / "segmentation/configs"
SAMPLES = 1000


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a small image", output=Path("work_dirs/speed_segmentation.json"))
    add_sides(argument_parser, ("plain", *FORMS), default=("plain", "folded", "bf16"))
    add = argument_parser.add_argument
    add(
        "--config",
        default=CONFIGS / "ean_se_voc.py",
        metavar="FILE",
        help="segmentation config (default ean_se_voc.py)",
    )
    add("--megapixels", type=positive, nargs="+", default=[0.5, 2], metavar="N", help="image sizes (default 0.5 2)")
    add("--rounds", type=at_least(1), default=3, metavar="N", help="turns of every side (default 3)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.config, arguments.megapixels = CONFIGS / "ean_se_voc_small.py", [0.02]
    return arguments


def run_side(arguments: argparse.Namespace) -> None:
    """Segment one image again and again."""
    import torch
    from ab_harness import Server, finish, printing_aside, serve, set_up

    from ean_core.deploy.compile import ModeUnavailable
    from ean_core.deploy.modes import MODES

    plain = arguments.side == "plain"
    device = set_up(arguments, keep_memory=not plain)
    with printing_aside():  # mmsegmentation prints, and the other end reads what is printed
        from segmentation.commands import quiet_imports

        quiet_imports()
        from segmentation.benchmark import build_segmentors

        network = list(build_segmentors(arguments.config, device=str(device)).values())[-1]
    side = round((arguments.megapixels[0] * 1e6) ** 0.5) // 32 * 32
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        form = network if plain else MODES[arguments.side].build(network, images)
    except ModeUnavailable as reason:
        Server().send({"skipped": str(reason)})
        return

    @torch.inference_mode()
    def turn() -> dict[str, Any]:
        """Logits of the image, and some of them for the comparison."""
        logits = form(images)
        finish(device)
        chosen = logits.flatten()[:: max(1, logits.numel() // SAMPLES)]
        return {"logits": chosen.float().tolist()}

    serve(turn, side=side)


def check_logits(turns: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """The largest difference of each side's logits from plain's, relative to the largest logit.

    Raises:
        EANError: if one is over what its form is allowed.
    """
    import torch
    from ab_harness import check_equal

    from ean_core.deploy.modes import allowed_difference

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expected, timings = torch.tensor(turns["plain"][0]["logits"]), {}
    for name, (turn, *_) in turns.items():
        allowed = 0.0 if name == "plain" else allowed_difference(name, device)
        timings[name] = check_equal(name, expected, torch.tensor(turn["logits"]), allowed)
    return timings


def compare(arguments: argparse.Namespace, megapixels: float) -> dict[str, Any]:
    """All sides on images of one size."""
    from ab_harness import image_row, in_words, interleave, started, times_as_fast

    given = ["--config", arguments.config, "--threads", arguments.threads, "--megapixels", megapixels]
    with started(__file__, ["plain", *arguments.sides], given) as sides:
        pixels = sides["plain"].ready["side"] ** 2
        for name in [name for name, side in sides.items() if "skipped" in side.ready]:
            skipped = sides.pop(name)
            print(f"skipped {name}: {skipped.ready['skipped']}")
            skipped.close()
        differences = check_logits(interleave(sides, 1))
        timings = interleave(sides, arguments.rounds)
    rows = {}
    for name, turns in timings.items():
        rows[name] = {**image_row(timings["plain"], turns, pixels), "difference": differences[name]}
        print(
            f"{pixels / 1e6:.2f} megapixels, {name:<14}{rows[name]['megapixels_per_second']:6.3f} megapixels a second, "
            f"{in_words(times_as_fast(timings['plain'], turns))} as fast as plain, "
            f"peak {rows[name]['peak_mib']:.0f} MiB",
            flush=True,
        )
    return rows


def run(arguments: argparse.Namespace) -> None:
    """Compare the sides on every image size, and write the record."""
    from ab_harness import write

    write(arguments, {f"{size:g} megapixels": compare(arguments, size) for size in arguments.megapixels})


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_side if parsed.side else run, parsed))()
