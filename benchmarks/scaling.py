"""What the paper's ImageNet run costs on 1, 8 and 64 GPUs: the tables of docs/scaling.md, and hours once measured.

The counts follow from the recipe and the network. Hours need what one device measures: the record that
`benchmarks/training.py` writes there (for a local batch each), and the images a second of scoring.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from ean_core.arguments import positive
from ean_core.errors import EANError, command

HELP = """\
example:
  python benchmarks/scaling.py                                       (the counts in docs/scaling.md)
  python benchmarks/scaling.py --training b256.json b32.json b4.json --scoring 4000 --bandwidth 200

--training: records of benchmarks/training.py --arch resnet50 --image-size 224, with --batch-size 256, 32 and 4."""

IMAGES, VALIDATION, BATCH, SIDE = 1_281_167, 100_000, 256, 224
SUPERNET_EPOCHS, RETRAIN_EPOCHS, PROPOSALS = 40, 120, 300 * 3
DEVICES = (1, 8, 64)
LANDSCAPES = Path(__file__).resolve().parent.parent / "results/search_landscapes_16.json"
FASTEST = ("fast-graph", "fast-compiled", "fast", "engine")


@dataclass(frozen=True)
class Work:
    """What is to be done, whatever it is done on.

    Attributes:
        supernet_images, retrain_images: forward and backward, for the supernet and for one retrained network.
        supernet_steps, retrain_steps: of the optimiser, without a last, smaller batch of an epoch.
        scoring_images: forward, if every proposal is another scheme.
        gradient_bytes: of a step, in float32.
        held_bytes: of the decoded validation images.
    """

    supernet_images: int
    supernet_steps: int
    retrain_images: int
    retrain_steps: int
    scoring_images: int
    gradient_bytes: int
    held_bytes: int


def work(parameters: int) -> Work:
    """The paper's run with a network of so many parameters."""
    rest = IMAGES - VALIDATION
    return Work(
        supernet_images=SUPERNET_EPOCHS * rest,
        supernet_steps=SUPERNET_EPOCHS * (rest // BATCH),
        retrain_images=RETRAIN_EPOCHS * IMAGES,
        retrain_steps=RETRAIN_EPOCHS * (IMAGES // BATCH),
        scoring_images=PROPOSALS * VALIDATION,
        gradient_bytes=4 * parameters,
        held_bytes=3 * SIDE**2 * VALIDATION,
    )


def counts(todo: Work) -> list[str]:
    """The lines of the page's last table that need no measurement: Markdown, a column per number of devices."""
    rows = {
        "images of a training step on each": [f"{BATCH // n}" for n in DEVICES],
        "supernet, compute": [f"{todo.supernet_images / n:,.0f} / T" for n in DEVICES],
        "a retrained network, compute": [f"{todo.retrain_images / n:,.0f} / T" for n in DEVICES],
        "gradients sent and received by each, per step": [
            f"{2 * (n - 1) / n * todo.gradient_bytes / 1e6:.0f} MB" if n > 1 else "0" for n in DEVICES
        ],
        "validation images on each": [
            f"{math.ceil(VALIDATION / n):,} ({todo.held_bytes / n / 1e9:.{2 if n == 64 else 1}f} GB)" for n in DEVICES
        ],
        f"search, compute, D = {PROPOSALS}": [f"{PROPOSALS * math.ceil(VALIDATION / n):,} / S" for n in DEVICES],
    }
    return [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]


def seconds_of_a_proposal(method: str) -> float:
    """c, over all made-up rewards of the record of 16 blocks, as many as ResNet-50 has."""
    from ean_core.results import read_record

    rows = [row for row in read_record(LANDSCAPES)["metrics"] if row["method"] == method]
    return sum(row["mean_seconds"] for row in rows) / sum(row["mean_proposals"] for row in rows)


def controller(seconds: float) -> str:
    """The table's last line: the same on every number of devices."""
    cells = " | ".join(f"{PROPOSALS * seconds:.1f} s" for _ in DEVICES)
    return f"| controller, {PROPOSALS} proposals (*measured* c) | {cells} |"


def hours(todo: Work, *, training: dict[int, float], scoring: float, bandwidth: float) -> list[str]:
    """Hours on every number of devices whose local batch was measured.

    Args:
        todo: what is to be done.
        training: local batch -> images a second of one device.
        scoring: images a second of one device.
        bandwidth: bytes a second of an all-reduce between the devices; no overlap with the backward pass is assumed.
    """
    lines = []
    for n in DEVICES:
        if BATCH // n not in training:
            continue
        step = BATCH / (n * training[BATCH // n]) + 2 * (n - 1) / n * todo.gradient_bytes / bandwidth
        search = PROPOSALS * math.ceil(VALIDATION / n) / scoring
        parts = (todo.supernet_steps * step, search, todo.retrain_steps * step)
        lines.append(
            f"{n:>3} GPUs: supernet {parts[0] / 3600:.1f} h, search at most {parts[1] / 3600:.1f} h, a retrained "
            f"network {parts[2] / 3600:.1f} h"
        )
    return lines


def measured(paths: list[Path]) -> dict[int, float]:
    """Local batch -> images a second, of the fastest side that each record has.

    Raises:
        EANError: for a record of something else.
    """
    from ean_core.results import read_record

    found = {}
    for path in paths:
        record = read_record(path)
        settings = record["settings"]
        if record["kind"] != "speed" or settings.get("image_size") != SIDE or settings.get("arch") != "resnet50":
            raise EANError(f"{path} is no record of benchmarks/training.py --arch resnet50 --image-size {SIDE}")
        side = next(name for name in FASTEST if name in record["metrics"])
        found[settings["batch_size"]] = record["metrics"][side]["images_per_second"]
    return found


@command
def main() -> None:
    """Print the counts, and hours where there is something to reckon them from."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    parser.add_argument("--training", type=Path, nargs="+", default=[], metavar="JSON", help="records, one per batch")
    parser.add_argument("--scoring", type=positive, metavar="N", help="images a second that one device scores")
    parser.add_argument("--bandwidth", type=positive, metavar="GB", help="GB a second of an all-reduce between devices")
    arguments = parser.parse_args()
    given = (arguments.training, arguments.scoring, arguments.bandwidth)
    if any(given) and not all(given):
        raise EANError("--training, --scoring and --bandwidth give hours together: give all three, or none")
    from ean_core import create_model
    from ean_core.networks import count_parameters

    todo = work(count_parameters(create_model("resnet50", attention="se")))
    print(f"supernet: {todo.supernet_images:,} images, {todo.supernet_steps:,} steps")
    print(f"a retrained network: {todo.retrain_images:,} images, {todo.retrain_steps:,} steps")
    print(f"search: at most {todo.scoring_images:,} images")
    seconds = {method: seconds_of_a_proposal(method) for method in ("paper", "natural")}
    print("\n".join([*counts(todo), controller(seconds["paper"])]))
    print(f"c: {seconds['paper']:.4f} s (paper's preset, 16 blocks), {seconds['natural']:.4f} s (natural)")
    if arguments.training:
        how = {"scoring": arguments.scoring, "bandwidth": 1e9 * arguments.bandwidth}
        print("\n".join(hours(todo, training=measured(arguments.training), **how)))


if __name__ == "__main__":
    main()
