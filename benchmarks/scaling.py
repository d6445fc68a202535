"""What the paper's ImageNet run costs on 1, 8 and 64 GPUs: the tables of docs/scaling.md, and hours once measured.

The counts follow from the recipe and the network. Hours need what one device measures: the records that
`benchmarks/training.py` (for a local batch each), `processes.py` and `decoding.py` write there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python benchmarks/scaling.py                                       (the counts in docs/scaling.md)
  python benchmarks/scaling.py --training b256.json b32.json b4.json --processes processes.json

--training: records of benchmarks/training.py --arch resnet50 --image-size 224, with --batch-size 256, 32 and 4, or what
fits of it; --processes: one of benchmarks/processes.py for the same network and size, of several processes if hours on
several devices are wanted; --decoding: one of benchmarks/decoding.py. docs/scaling.md has the commands."""

IMAGES, VALIDATION, BATCH, SIDE = 1_281_167, 100_000, 256, 224
SUPERNET_EPOCHS, RETRAIN_EPOCHS, PROPOSALS = 40, 120, 300 * 3
DEVICES = (1, 8, 64)
LANDSCAPES = Path(__file__).resolve().parent.parent / "results/search_landscapes_16.json"
OURS = ("fast-graph", "fast-compiled", "fast", "engine")  # sides of benchmarks/training.py


@dataclass(frozen=True)
class Work:
    """What is to be done, whatever it is done on.

    Attributes:
        supernet_images, retrain_images: forward and backward, for the supernet and for one retrained network.
        supernet_steps, retrain_steps: of the optimizer, with a last, smaller batch of every epoch.
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
        supernet_steps=SUPERNET_EPOCHS * -(-rest // BATCH),
        retrain_images=RETRAIN_EPOCHS * IMAGES,
        retrain_steps=RETRAIN_EPOCHS * -(-IMAGES // BATCH),
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
    from ean_core.io.records import read_record

    rows = [row for row in read_record(LANDSCAPES)["metrics"] if row["method"] == method]
    return sum(row["mean_seconds"] for row in rows) / sum(row["mean_proposals"] for row in rows)


def controller(seconds: float) -> str:
    """The table's last line: the same on every number of devices."""
    cells = " | ".join(f"{PROPOSALS * seconds:.1f} s" for _ in DEVICES)
    return f"| controller, {PROPOSALS} proposals (*measured* c) | {cells} |"


@dataclass(frozen=True)
class Measured:
    """What records say of one device.

    Attributes:
        training: local batch -> images per second, forward and backward.
        scoring: images per second, forward.
        bandwidth: bytes per second of an all-reduce between devices; None if only one was used.
        decoding: images per second of a processor core; None if not measured.
    """

    training: dict[int, float]
    scoring: float
    bandwidth: float | None = None
    decoding: float | None = None

    def rate(self, batch: int) -> tuple[int, float] | None:
        """The largest measured batch that is not larger than `batch`, and its images per second.

        A device without the memory for its share of the batch takes it in parts.
        """
        fitting = [one for one in self.training if one <= batch]
        return (max(fitting), self.training[max(fitting)]) if fitting else None


def hours(todo: Work, measured: Measured) -> list[str]:
    """Hours on every number of devices that something was measured for: Markdown, a line each.

    No overlap of the all-reduce with the backward pass is assumed. The last column is how many cores decode as fast as
    a device trains.
    """
    lines = []
    for n in DEVICES:
        images_per_second = measured.rate(BATCH // n)
        if images_per_second is None or (n > 1 and measured.bandwidth is None):
            continue
        batch, rate = images_per_second
        sent = 2 * (n - 1) / n * todo.gradient_bytes
        compute, exposed = BATCH / (n * rate), sent / measured.bandwidth if sent else 0.0
        step, search = compute + exposed, PROPOSALS * math.ceil(VALIDATION / n) / measured.scoring
        cells = (
            str(n),
            f"{rate:.3g} (batch {batch})",
            f"{step:.3g} s",
            f"{100 * exposed / step:.1f} %",
            *(f"{seconds / 3600:,.1f}" for seconds in (todo.supernet_steps * step, search, todo.retrain_steps * step)),
            f"{BATCH / n / step / measured.decoding:.2f}" if measured.decoding else "not measured",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


HEADS = (
    "devices", "T", "step", "all-reduce share", "supernet, h", "search at most, h", "a retrained network, h", "cores"
)  # fmt: skip


def read(training: list[Path], processes: Path, decoding: Path | None) -> Measured:
    """What the records say; of training the fastest side that each has.

    Raises:
        EANError: for a record of something else.
    """
    rates, same = {}, f" --arch resnet50 --image-size {SIDE}"
    for path in training:
        record = speed_record(path, OURS, f"training.py{same}")
        ours = [row["images_per_second"] for name, row in record["metrics"].items() if name in OURS]
        rates[record["settings"]["batch_size"]] = max(ours)
    scoring = speed_record(processes, ("all_reduce",), f"processes.py{same}")["metrics"]
    if "1" not in scoring["scoring"]:
        raise EANError(f"{processes} has no scoring by one process: measure with --processes 1, and more after it")
    reduced = [row["bytes_per_second"] for row in scoring["all_reduce"].values()]
    decoded = speed_record(decoding, ("evaluation",), "decoding.py") if decoding else None
    return Measured(
        training=rates,
        scoring=scoring["scoring"]["1"]["images_per_second"],
        bandwidth=min(reduced, default=None),
        decoding=decoded["metrics"]["training"]["ours"]["images_per_second"] if decoded else None,
    )


def speed_record(path: Path, parts: Sequence[str], script: str) -> dict[str, Any]:
    """A record that has one of these parts, of ResNet-50 unless it is of no network.

    Raises:
        EANError: if it is one of something else.
    """
    from ean_core.io.records import read_record

    record = read_record(path)
    settings = {"arch": "resnet50", "image_size": SIDE, **record["settings"]}
    same = (settings["arch"], settings["image_size"]) == ("resnet50", SIDE)
    if record["kind"] != "speed" or not same or not any(name in record["metrics"] for name in parts):
        raise EANError(f"{path} is not a record of benchmarks/{script}")
    return record


@command
def main() -> None:
    """Print the counts, and hours where there is something to reckon them from."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    parser.add_argument("--training", type=Path, nargs="+", default=[], metavar="JSON", help="records, one per batch")
    parser.add_argument("--processes", type=Path, metavar="JSON", help="the record of scoring and of the all-reduce")
    parser.add_argument("--decoding", type=Path, metavar="JSON", help="the record of decoding")
    arguments = parser.parse_args()
    if bool(arguments.training) != bool(arguments.processes):
        raise EANError("--training and --processes give hours together: give both, or none")
    measured = read(arguments.training, arguments.processes, arguments.decoding) if arguments.training else None
    from ean_core import create_model
    from ean_core.networks import count_parameters

    todo = work(count_parameters(create_model("resnet50", attention="se")))
    print(f"supernet: {todo.supernet_images:,} images, {todo.supernet_steps:,} steps")
    print(f"a retrained network: {todo.retrain_images:,} images, {todo.retrain_steps:,} steps")
    print(f"search: at most {todo.scoring_images:,} images")
    seconds = {method: seconds_of_a_proposal(method) for method in ("paper", "natural")}
    print("\n".join([*counts(todo), controller(seconds["paper"])]))
    print(f"c: {seconds['paper']:.4f} s (paper's preset, 16 blocks), {seconds['natural']:.4f} s (natural)")
    if measured:
        print(f"T: images per second of a device in training; S {measured.scoring:.3g} images per second in scoring")
        print("\n".join([f"| {' | '.join(HEADS)} |", f"|{'--:|' * len(HEADS)}", *hours(todo, measured)]))


if __name__ == "__main__":
    main()
