"""Training a supernet and a final network: images a second, and what the engine adds to a bare loop of the same steps.

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
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
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
    add("--attention", default="se", help="default se")
    add("--network", choices=("supernet", "final"), default="supernet", help="a path a step, or Share-full")
    add("--batch-size", type=at_least(1), default=128, metavar="N", help="default 128, as in the paper")
    add("--image-size", type=at_least(1), default=32, metavar="N", help="default 32, CIFAR's; ImageNet's is 224")
    add("--steps", type=at_least(1), default=3, metavar="N", help="in a turn (default 3)")
    add("--rounds", type=at_least(1), default=6, metavar="N", help="turns of every side (default 6)")
    add("--workers", type=at_least(0), default=2, metavar="N", help="the plain side's workers (default 2)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.arch, arguments.batch_size, arguments.steps, arguments.rounds = "resnet20", 8, 2, 2
        arguments.workers = 0
    default = f"work_dirs/speed_training_{arguments.arch}_{arguments.network}.json"
    arguments.output = arguments.output or free_path(default)
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


def optimizer(network: Any) -> Any:
    """The paper's, with its first learning rate."""
    import torch

    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)


def path_of(arguments: argparse.Namespace, network: Any, step: int) -> Any:
    """The scheme of a step: drawn for a supernet, all connected for a final network."""
    from ean_core.scheme import Scheme
    from ean_core.supernet.paths import draw_path

    blocks = network.stages_blocks
    return draw_path(blocks, seed=0, step=step) if arguments.network == "supernet" else Scheme.all_on(blocks)


MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


# -- the sides --------------------------------------------------------------------------------------------------------


def plain_side(arguments: argparse.Namespace, device: Any) -> tuple[Any, dict[str, Any]]:
    """As a user of PyTorch would write it."""
    import torch
    from ab_harness import finish
    from plain_images import PlainImages
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader

    images, labels = made_up_images(arguments)
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (MEAN, STD))

    loader = DataLoader(
        PlainImages(images, labels, mean, std),
        batch_size=arguments.batch_size,
        shuffle=True,
        num_workers=arguments.workers,
        persistent_workers=arguments.workers > 0,
        pin_memory=device.type == "cuda",
    )
    network = build(arguments).to(device)
    optim = optimizer(network)
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
        finish(device)
        return {}

    inputs, wanted = images[: arguments.batch_size].to(device), labels[: arguments.batch_size].to(device)
    check = build(arguments).to(device)
    check.set_scheme(path_of(arguments, check, 0))
    normal = (inputs.float() / 255 - mean.to(device)) / std.to(device)
    return turn, {"loss": cross_entropy(check(normal), wanted).item()}


def our_parts(arguments: argparse.Namespace, device: Any) -> tuple[Any, Any]:
    """The model and the loader that the commands would build."""
    import torch

    from ean_core.data import ArraySource, Augment, make_loader
    from ean_core.data.normalize import Normalize
    from ean_core.training.classifier import SupernetClassifier

    network, fast = build(arguments), arguments.side.startswith("fast")
    if fast:
        network.to(memory_format=torch.channels_last)
    precision = "bfloat16" if fast else "float32"
    normalize, graph = Normalize(MEAN, STD, channels_last=fast), arguments.side == "fast-graph"
    model = SupernetClassifier(network, normalize, precision=precision, cuda_graph=graph).to(device)
    if arguments.side == "fast-compiled":
        for stage in network.stages:  # as a supernet is compiled
            for block in stage.blocks:
                block.compile()
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
    from ab_harness import finish

    model, loader = our_parts(arguments, device)
    ready = {"loss": first_loss(arguments, model, device)}
    optim = optimizer(model)
    step = 0

    def turn() -> dict[str, Any]:
        """An epoch of our parts in a bare loop."""
        nonlocal step
        start, begun = time.perf_counter(), None
        model.train()
        for batch in loader:
            model.paths = [path_of(arguments, model.network, step)]
            loss = model(**batch, mode="loss")["loss"]
            optim.zero_grad()
            loss.backward()
            optim.step()
            step += 1
            begun = checksum(model) if step == 1 else begun
        finish(device)
        return {"seconds": time.perf_counter() - start, "weights": checksum(model), "begun": begun}

    return turn, ready


def run_engine(arguments: argparse.Namespace, device: Any) -> None:
    """A run of the engine whose epochs are the turns; what happens between two epochs is not on the clock."""
    import tempfile

    from ab_harness import Server, finish
    from mmengine.hooks import Hook

    from ean_core.training.hooks import ShowProgress
    from ean_core.training.runner import build_runner
    from ean_core.training.schedule import TrainSettings

    server = Server()
    model, loader = our_parts(arguments, device)
    first = first_loss(arguments, model, device)

    class Turns(Hook):
        priority = "VERY_HIGH"

        def before_train(self, runner: Any) -> None:
            server.send({"loss": first})

        def before_train_epoch(self, runner: Any) -> None:
            if not server.wait():
                sys.exit()
            self.start, self.begun = time.perf_counter(), None

        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            model.paths = [path_of(arguments, model.network, runner.iter)]

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            self.begun = checksum(model) if runner.iter == 0 else self.begun
            if arguments.side == "fast-graph" and model.graphed is None:
                raise EANError("the step is not in a CUDA graph (see above): leave out fast-graph")

        def after_train_epoch(self, runner: Any) -> None:
            finish(device)
            seconds = time.perf_counter() - self.start
            server.send({"seconds": seconds, "weights": checksum(model), "begun": self.begun})

    settings = TrainSettings(epochs=10_000, batch_size=arguments.batch_size, lr=0.1, save_interval=10_000)
    with tempfile.TemporaryDirectory() as place:
        hooks = [Turns(), ShowProgress(None)]
        build_runner(model, loader, settings, work_dir=Path(place), seed=0, hooks=hooks).train()


def checksum(model: Any) -> float:
    """The sum of the weights' magnitudes, which tells whether two sides were trained alike."""
    import torch

    return torch.stack([value.detach().double().abs().sum() for value in model.network.parameters()]).sum().item()


def run_side(arguments: argparse.Namespace) -> None:
    """Train in the process of one side, a number of steps a turn."""
    import torch
    from ab_harness import serve, set_up

    device = set_up(arguments, keep_memory=arguments.side not in ("plain", "engine-malloc"))
    torch.backends.cudnn.benchmark = True  # as the commands have it, and most of those who use PyTorch alone
    if arguments.side in ("plain", "bare"):
        turn, ready = (plain_side if arguments.side == "plain" else bare_side)(arguments, device)
        serve(turn, **ready, device=device.type)
    else:
        run_engine(arguments, device)


# -- the comparison ---------------------------------------------------------------------------------------------------


def check_losses(ready: dict[str, dict[str, Any]], *, device: str) -> None:
    """The sides' losses on the same images, before anything is timed.

    A GPU's convolutions of float32 multiply in TF32, each algorithm with another order of its sums; 164 layers that
    normalize by their batch make a thousandth of the loss of it.

    Raises:
        EANError: if one differs from plain's by more than rounding.
    """
    plain = ready["plain"]["loss"]
    for name, said in ready.items():
        allowed = 0.02 if name.startswith("fast") or device == "cuda" else 1e-4
        if not abs(said["loss"] - plain) <= allowed * abs(plain):
            raise EANError(f"{name} has loss {said['loss']} where plain has {plain}: nothing is compared")


def check_weights(found: dict[str, list[dict[str, Any]]], *, device: str) -> None:
    """The engine's weights are those of the bare loop.

    To the last bit on a CPU, after every turn. A GPU adds up in an order of its own, and what that changes has grown to
    percents after ten steps of a deep network: there the weights after the first step are compared, within a fifth of
    what that step changes in ResNet-164.

    Raises:
        EANError: if not.
    """
    name, allowed = ("weights", 1e-9) if device == "cpu" else ("begun", 2e-2)
    for bare, engine in zip(found.get("bare", []), found.get("engine", []), strict=False):
        one, other = bare[name], engine[name]
        if one is not None and not abs(one - other) <= allowed * one:
            raise EANError(f"bare ends with weights {one} and engine with {other}")


def run(arguments: argparse.Namespace) -> None:
    """Start the sides, check them against each other, let them take turns, show and write."""
    import torch
    from ab_harness import in_words, interleave, middle, row, started, times_as_fast, write

    from ean_core.utils.intervals import Interval

    wanted = [side for side in arguments.sides if side != "fast-graph" or torch.cuda.is_available()]
    if wanted != arguments.sides:
        print("skipped fast-graph: it needs a CUDA device, and this runs on cpu")
    with started(__file__, ["plain", *wanted], sys.argv[1:]) as sides:
        ready = {name: side.ready for name, side in sides.items()}
        check_losses(ready, device=ready["plain"]["device"])
        first = interleave(sides, 1)  # warm-up
        check_weights(first, device=ready["plain"]["device"])
        found = interleave(sides, arguments.rounds)
        check_weights({name: first[name] + found[name] for name in found}, device=ready["plain"]["device"])
    rows = {}
    images = arguments.steps * arguments.batch_size
    for name, turns in found.items():
        rows[name] = {**row(found["plain"], turns), "images_per_second": images / middle(turns)}
        print(
            f"{name:<14}{rows[name]['images_per_second']:8.1f} images a second  "
            f"{in_words(Interval(**rows[name]['times_as_fast']))}  peak {rows[name]['peak_mib']:.0f} MiB"
        )
    if {"bare", "engine"} <= rows.keys():
        over = times_as_fast(found["engine"], found["bare"])
        rows["engine"]["over_bare"] = asdict(over)
        print(f"engine takes {in_words(over)} as long as bare")
    write(arguments, rows)


if __name__ == "__main__":
    parsed = parse_arguments()
    command(partial(run_side if parsed.side else run, parsed))()
