"""Training a supernet and a final network: images a second, and what the engine adds to a bare loop of the same steps.

plain          PyTorch alone: DataLoader with workers that crop and flip, eager, float32
bare           this project's loader and model in a loop of four lines, otherwise as plain
engine         the same steps through MMEngine's runner with the project's hooks, as the commands train
engine-malloc  engine, with the C library's memory allocator as it is
fast           engine, with channels_last and bfloat16 (`precision` and `channels_last` of a recipe)
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ean_core.errors import EANError, command

HELP = """\
example:
  python benchmarks/training.py --quick                                     (seconds)
  python benchmarks/training.py --arch resnet29 --network supernet --steps 4
  python benchmarks/training.py --arch resnet164 --network final --steps 1 --rounds 4

bare and engine must end with the same weights to the last bit; plain, fed with the same images, must give the same loss
within rounding."""

SIDES = ("plain", "bare", "engine", "engine-malloc", "fast")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    add = parser.add_argument
    add("--arch", default="resnet29", help="resnet29, resnet164, .. (default resnet29)")
    add("--attention", default="se", help="default se")
    add("--network", choices=("supernet", "final"), default="supernet", help="a path a step, or Share-full")
    add("--batch-size", type=int, default=128, metavar="N", help="default 128, as in the paper")
    add("--image-size", type=int, default=32, metavar="N", help="default 32, CIFAR's; ImageNet's is 224")
    add("--steps", type=int, default=3, metavar="N", help="in a turn (default 3)")
    add("--rounds", type=int, default=6, metavar="N", help="turns of every side (default 6)")
    add("--workers", type=int, default=2, metavar="N", help="the plain side's workers (default 2)")
    add("--threads", type=int, default=0, metavar="N", help="of every side (default: torch's choice)")
    add("--sides", nargs="+", default=list(SIDES), choices=SIDES, help="default: all")
    add("--output", type=Path, metavar="JSON", help="the record (default work_dirs/speed_training_ARCH_NETWORK.json)")
    add("--quick", action="store_true", help="a small network and batch, for a test of the script")
    add("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.arch, arguments.batch_size, arguments.steps, arguments.rounds = "resnet20", 8, 2, 2
        arguments.workers = 0
    if arguments.output is None:
        arguments.output = Path(f"work_dirs/speed_training_{arguments.arch}_{arguments.network}.json")
    return arguments


# -- what all sides share ---------------------------------------------------------------------------------------------


def made_up_images(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """uint8 (N, 3, H, W) and labels of a turn; how long a step takes does not depend on what is to be seen."""
    import torch

    generator = torch.Generator().manual_seed(0)
    count, side = arguments.steps * arguments.batch_size, arguments.image_size
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, 100, (count,), generator=generator)


def build(arguments: argparse.Namespace) -> Any:
    """The network with the same weights on every side."""
    import torch

    from ean_core import create_model

    torch.manual_seed(0)
    return create_model(arguments.arch, num_classes=100, attention=arguments.attention)


def optimiser(network: Any) -> Any:
    """The paper's, with its first learning rate."""
    import torch

    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def path_of(arguments: argparse.Namespace, network: Any, step: int) -> Any:
    """The scheme of a step: drawn for a supernet, all connected for a final network."""
    from ean_core.scheme import Scheme
    from ean_core.supernet import draw_path

    blocks = network.stages_blocks
    return draw_path(blocks, seed=0, step=step) if arguments.network == "supernet" else Scheme.all_on(blocks)


MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


# -- the sides --------------------------------------------------------------------------------------------------------


def plain_side(arguments: argparse.Namespace, device: Any) -> tuple[Any, dict[str, Any]]:
    """As a user of PyTorch would write it."""
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader, Dataset

    images, labels = made_up_images(arguments)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (MEAN, STD))

    class Images(Dataset):
        def __len__(self) -> int:
            return len(labels)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            padded = torch.nn.functional.pad(images[index], (4,) * 4)
            top, left, flip = torch.randint(9, (1,)).item(), torch.randint(9, (1,)).item(), torch.rand(1).item() < 0.5
            side = arguments.image_size
            image = padded[:, top : top + side, left : left + side]
            image = image.flip(2) if flip else image
            return (image.float() / 255 - mean) / std, labels[index]

    loader = DataLoader(
        Images(),
        batch_size=arguments.batch_size,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        pin_memory=device.type == "cuda",
    )
    network = build(arguments).to(device)
    optim = optimiser(network)
    step = 0

    def turn() -> dict[str, Any]:
        """An epoch, as it is usually written."""
        nonlocal step
        for inputs, wanted in loader:
            network.set_scheme(path_of(arguments, network, step))
            loss = cross_entropy(network(inputs.to(device)), wanted.to(device))
            optim.zero_grad()
            loss.backward()
            optim.step()
            step += 1
        return finish(device)

    inputs, wanted = images[: arguments.batch_size].to(device), labels[: arguments.batch_size].to(device)
    check = build(arguments).to(device)
    check.set_scheme(path_of(arguments, check, 0))
    normal = (inputs.float() / 255 - mean.to(device)) / std.to(device)
    return turn, {"loss": cross_entropy(check(normal), wanted).item()}


def our_parts(arguments: argparse.Namespace, device: Any, *, fast: bool) -> tuple[Any, Any]:
    """The model and the loader that the commands would build."""
    import torch

    from ean_core.data import ArraySource, Augment, make_loader
    from ean_core.normalise import Normalise
    from ean_core.training.classifier import SupernetClassifier

    network = build(arguments)
    if fast:
        network.to(memory_format=torch.channels_last)
    precision = "bfloat16" if fast else "float32"
    model = SupernetClassifier(network, Normalise(MEAN, STD, channels_last=fast), precision=precision).to(device)
    images, labels = made_up_images(arguments)
    loader = make_loader(
        ArraySource(images, labels), None, batch_size=arguments.batch_size, train=True, augment=Augment(), device=device
    )
    return model, loader


def first_loss(arguments: argparse.Namespace, model: Any, device: Any) -> float:
    """Of the batch that the plain side also looks at."""
    import copy

    images, labels = made_up_images(arguments)
    inputs, wanted = images[: arguments.batch_size].to(device), labels[: arguments.batch_size].to(device)
    model = copy.deepcopy(model)  # batch norms keep no trace of the check
    model.paths = [path_of(arguments, model.network, 0)]
    return model(inputs, wanted, mode="loss")["loss"].item()


def bare_side(arguments: argparse.Namespace, device: Any) -> tuple[Any, dict[str, Any]]:
    """The engine's steps without the engine."""
    model, loader = our_parts(arguments, device, fast=False)
    ready = {"loss": first_loss(arguments, model, device)}
    optim = optimiser(model)
    step = 0

    def turn() -> dict[str, Any]:
        """An epoch of our parts in a bare loop."""
        nonlocal step
        model.train()
        for batch in loader:
            model.paths = [path_of(arguments, model.network, step)]
            loss = model(**batch, mode="loss")["loss"]
            optim.zero_grad()
            loss.backward()
            optim.step()
            step += 1
        return {**finish(device), "weights": checksum(model)}

    return turn, ready


def run_engine(arguments: argparse.Namespace, device: Any, *, fast: bool) -> None:
    """A run of the engine whose epochs are the turns; what happens between two epochs is not on the clock."""
    import tempfile
    import time

    from mmengine.hooks import Hook
    from sides import Server

    from ean_core.training.hooks import ShowProgress
    from ean_core.training.runner import build_runner
    from ean_core.training.schedule import TrainSettings

    server = Server()
    model, loader = our_parts(arguments, device, fast=fast)
    first = first_loss(arguments, model, device)

    class Turns(Hook):
        priority = "VERY_HIGH"

        def before_train(self, runner: Any) -> None:
            server.send({"loss": first})

        def before_train_epoch(self, runner: Any) -> None:
            if not server.wait():
                sys.exit()
            self.start = time.perf_counter()

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            model.paths = [path_of(arguments, model.network, runner.iter)]

        def after_train_epoch(self, runner: Any) -> None:
            finish(device)
            server.send({"seconds": time.perf_counter() - self.start, "weights": checksum(model)})

    settings = TrainSettings(epochs=10_000, batch_size=arguments.batch_size, lr=0.1, save_interval=10_000)
    with tempfile.TemporaryDirectory() as place:
        hooks = [Turns(), ShowProgress(None)]
        build_runner(model, loader, settings, work_dir=Path(place), seed=0, hooks=hooks).train()


def finish(device: Any) -> dict[str, Any]:
    """Wait until the device has finished."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()
    return {}


def checksum(model: Any) -> float:
    """Changes with any weight."""
    return sum(value.detach().double().abs().sum().item() for value in model.network.parameters())


def run_side(arguments: argparse.Namespace) -> None:
    """In the side's own process."""
    import torch
    from sides import serve

    from ean_core.allocator import keep_freed_memory

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if arguments.side in ("bare", "engine", "fast"):
        keep_freed_memory()
    if arguments.side in ("plain", "bare"):
        turn, ready = (plain_side if arguments.side == "plain" else bare_side)(arguments, device)
        serve(turn, **ready)
    else:
        run_engine(arguments, device, fast=arguments.side == "fast")


# -- the comparison ---------------------------------------------------------------------------------------------------


def check_equal(ready: dict[str, dict[str, Any]], found: dict[str, list[dict[str, Any]]]) -> None:
    """Same losses before anything is timed, same weights after it.

    Raises:
        EANError: if not.
    """
    for name, said in ready.items():
        allowed = 0.02 if name == "fast" else 1e-4
        if abs(said["loss"] - ready["plain"]["loss"]) > allowed * abs(ready["plain"]["loss"]):
            raise EANError(f"{name} has loss {said['loss']} where plain has {ready['plain']['loss']}: not compared")
    if {"bare", "engine"} <= found.keys():
        for bare, engine in zip(found["bare"], found["engine"], strict=True):
            if abs(bare["weights"] - engine["weights"]) > 1e-9 * bare["weights"]:
                raise EANError(f"bare ends with weights {bare['weights']} and engine with {engine['weights']}")


@command
def main() -> None:
    """Start the sides, check them against each other, let them take turns, show and write."""
    arguments = parse_arguments()
    if arguments.side:
        run_side(arguments)
        return
    from sides import in_words, interleave, middle, seconds, started, times_as_fast

    from ean_core.results import write_record

    with started(__file__, ["plain", *arguments.sides], sys.argv[1:]) as sides:
        ready = {name: side.ready for name, side in sides.items()}
        check_equal(ready, {})
        first = interleave(sides, 1)  # warm-up
        found = interleave(sides, arguments.rounds)
        check_equal(ready, {name: first[name] + found[name] for name in found})
    rows = {}
    images = arguments.steps * arguments.batch_size
    for name, turns in found.items():
        each = middle(turns)
        ratio = times_as_fast(found["plain"], turns)
        rows[name] = {
            "seconds": seconds(turns),
            "images_per_second": images / each,
            "times_as_fast": asdict(ratio),
            "peak_mib": turns[-1]["peak_mib"],
        }
        print(
            f"{name:<14}{images / each:8.1f} images a second  {in_words(ratio)}  peak {turns[-1]['peak_mib']:.0f} MiB"
        )
    if {"bare", "engine"} <= rows.keys():
        over = times_as_fast(found["engine"], found["bare"])
        rows["engine"]["over_bare"] = asdict(over)
        print(f"engine takes {in_words(over)} as long as bare")
    settings = {**vars(arguments), "output": str(arguments.output)}
    print(f"record: {write_record(arguments.output, kind='speed', settings=settings, metrics=rows)}")


if __name__ == "__main__":
    main()
