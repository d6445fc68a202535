"""The networks themselves (Eq. 9): the authors' modules in eager mode, against the fastest modes of this project.

Efficient Attention Network (https://arxiv.org/abs/2011.14058). Every mode is measured for Org, Share-full and EAN
alike, and an increment counts only against an Org in the same mode. The plain attention is that of
`plain_network.py`, as it was released, with the same weights as ours. It runs as all others do, in eval mode without
autograd; the authors time in training mode with autograd.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from options import parser

from ean_core.cli import at_least
from ean_core.utils.errors import EANError, command
from ean_core.utils.files import free_path

if TYPE_CHECKING:
    from torch import Tensor

    from ean_core.networks import StagedNetwork

HELP = """\
example:
  python benchmarks/network.py --quick                                                       (seconds)
  python benchmarks/network.py --arch resnet164 --modes folded bf16 compiled compiled_bf16
  python benchmarks/network.py --arch resnet50 --batch-size 1 --modes folded compiled
  python benchmarks/network.py --arch resnet164 --modes cuda_graph fused fused_bf16       (CUDA)

EAN is every second block connected, as many as in the paper's schemes, unless --scheme says otherwise."""
OUTPUT = "the record (default work_dirs/speed_network_ARCH_bN.json)"


# -- the comparison ---------------------------------------------------------------------------------------------------


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a small network", output=None, output_help=OUTPUT)
    add = argument_parser.add_argument
    add("--arch", default="resnet164", help="architecture (default resnet164)")
    add(
        "--attention",
        nargs="+",
        default=["se", "sge", "dia"],
        choices=("se", "sge", "dia"),
        help="attentions (default all three)",
    )
    add("--scheme", help="bits of the EAN rows (default: every second block)")
    add("--modes", nargs="+", default=["folded", "bf16"], help="modes of tools/benchmark.py (default folded bf16)")
    add(
        "--batch-size",
        type=at_least(1),
        default=50,
        metavar="N",
        help="images per forward (default 50, as in the paper)",
    )
    add(
        "--image-size", type=at_least(1), metavar="N", help="side in pixels (default 32 for CIFAR's networks, else 224)"
    )
    add("--rounds", type=at_least(1), default=15, metavar="N", help="turns of every side (default 15)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.arch, arguments.batch_size, arguments.rounds, arguments.image_size = "resnet29", 1, 1, 8
    default = f"work_dirs/speed_network_{arguments.arch}_b{arguments.batch_size}.json"
    arguments.output = arguments.output or free_path(default)
    return arguments


def networks_of(arguments: argparse.Namespace, device: str) -> dict[str, StagedNetwork]:
    """Org, and Share-full and EAN of every attention."""
    import torch

    from ean_core import create_model
    from ean_core.attention import SpatialGroupEnhance
    from ean_core.networks import stages_blocks

    count = sum(stages_blocks(arguments.arch))
    scheme = arguments.scheme or ("10" * count)[:count]
    networks = {}
    for name, options in {
        "Org": {},
        **{f"Share-full {attention}": {"attention": attention} for attention in arguments.attention},
        **{f"EAN {attention}": {"attention": attention, "scheme": scheme} for attention in arguments.attention},
    }.items():
        torch.manual_seed(0)
        networks[name] = create_model(arguments.arch, **options).eval().to(device)
        for module in networks[name].modules():
            if isinstance(module, SpatialGroupEnhance):
                torch.nn.init.normal_(module.weight)  # zero at the start, which would hide the normalization
        for stage in networks[name].stages:
            for block in stage.blocks:
                # As in a trained network: at one, 54 blocks blow the features up, and float32's rounding with them.
                torch.nn.init.constant_(getattr(block, "bn3", block.bn2).weight, 0.2)
    return networks


def measure_mode(
    mode: str, networks: dict[str, StagedNetwork], batch: Tensor, rounds: int
) -> dict[str, dict[str, Any]]:
    """Times and increments of all networks in one mode; "plain" has the authors' modules. Plain Org is always there."""
    import torch
    from ab_harness import check_equal
    from plain_network import plain_form

    from ean_core.benchmark.timing import compare, increment
    from ean_core.deploy.modes import MODES, allowed_difference

    plain = {name: plain_form(network) for name, network in networks.items()}
    callables, differences = dict(plain), {}
    if mode != "plain":
        callables = {name: MODES[mode].build(network, batch) for name, network in networks.items()}
    with torch.inference_mode():
        for name, forward in callables.items():
            tolerance = allowed_difference("folded" if mode == "plain" else mode, batch.device)
            expected = networks[name](batch) if mode == "plain" else plain[name](batch)
            differences[name] = check_equal(f"{name} in {mode}", expected, forward(batch), max(tolerance, 1e-3))
    compared = compare({**callables, "plain Org": plain["Org"]}, batch, reference="Org", rounds=rounds)
    return {
        name: {
            **asdict(compared[name]),
            "difference": differences[name],
            "time_over_plain_org": asdict(increment(compared[name].timing, compared["plain Org"].timing)),
        }
        for name in callables
    }


def show(mode: str, rows: dict[str, dict[str, Any]], plain: dict[str, dict[str, Any]]) -> None:
    """Print a line per network: its time, and how it compares with plain Org and with Org in the same mode."""
    for name, row in rows.items():
        text = f"{mode:<14}{name:<16}{1e3 * row['median']['value']:9.2f} ms"
        over = 1 + row["time_over_plain_org"]["value"]
        text += f"  {1 / over:5.2f}x as fast as plain Org"
        if row["increment"]:
            value, low, high = (100 * row["increment"][key] for key in ("value", "low", "high"))
            share = row["increment"]["value"] / plain[name]["increment"]["value"]
            text += f"  increment {value:+6.1f} % ({low:+.1f} to {high:+.1f}), {100 * share:.0f} % of plain's"
        print(text, flush=True)


@command
def main() -> None:
    """Check that all modes agree, time them in turns, and write the record."""
    arguments = parse_arguments()
    import torch
    from ab_harness import write

    from ean_core.deploy.compile import ModeUnavailable
    from ean_core.deploy.modes import check_mode
    from ean_core.networks import input_shape
    from ean_core.utils.allocator import keep_freed_memory

    for mode in arguments.modes:
        check_mode(mode)
    # For all sides: else a part of their time is the mapping of memory, which changes with every change of a network.
    kept_memory = keep_freed_memory()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    networks = networks_of(arguments, device)
    shape = input_shape(networks["Org"], size=arguments.image_size)
    batch = torch.randn(arguments.batch_size, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    results, skipped, failures = {}, {}, []
    conditions = {
        "image_size": shape[1],
        "threads": torch.get_num_threads(),
        "kept_memory": kept_memory,
        "skipped": skipped,
    }
    modes = ["plain", *dict.fromkeys(arguments.modes)]
    arguments.settings = vars(arguments).pop("modes")  # the key of earlier records
    for mode in modes:
        try:
            results[mode] = measure_mode(mode, networks, batch, arguments.rounds)
        except EANError as reason:
            if mode == "plain":  # with which all are compared
                raise
            skipped[mode] = str(reason)
            failures += [] if isinstance(reason, ModeUnavailable) else [str(reason)]
            print(f"skipped {mode}: {reason}", flush=True)
            continue
        show(mode, results[mode], results["plain"])
        write(arguments, results, last=False, **conditions)  # a compiler can take longer than there is time
    write(arguments, results, **conditions)
    if failures:  # the other modes' times are kept
        raise EANError("; ".join(failures))


if __name__ == "__main__":
    main()
