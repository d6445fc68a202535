"""`tools/benchmark.py --per-block`: measure a latency table, check it on whole networks, and show both."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ean_core.benchmark.compare import FOLDER, batch_shape, round_bars
from ean_core.benchmark.latency_table import ORG, LatencyTable, check_table, measure_table
from ean_core.cli import parse_options
from ean_core.networks import StagedNetwork, create_model
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError
from ean_core.utils.files import free_path, writable, written_or_replaced
from ean_core.utils.screen import make_table, print_table, say
from ean_core.utils.task_registry import task_of_config
from ean_core.utils.text import how_many


def measure_blocks(arguments: argparse.Namespace) -> tuple[LatencyTable, Path]:
    """Measure a latency table, check it, print it, and write it.

    Args:
        arguments: of the command, after `check_arguments`.
    """
    (mode,) = arguments.modes
    torch.manual_seed(arguments.seed)
    network, names = network_of_config(arguments.config) if arguments.config else classifier(arguments)
    network = network.eval().to(arguments.device)
    batch = torch.randn(arguments.batch_size, *batch_shape(arguments, network)).to(arguments.device)
    writable(arguments.output.parent if arguments.output else FOLDER)
    phases = ("connections", "whole networks")
    with round_bars(phases, arguments.rounds) as advance:
        first, second = (partial(advance, phase) for phase in phases)
        how = {"rounds": arguments.rounds, "seed": arguments.seed}
        table = measure_table(network, batch, mode=mode, **how, after_round=first, **names)
        table = check_table(table, network, batch, count=arguments.check, seed=arguments.seed, after_round=second)
    output = arguments.output or default_output(table)
    print_latency_table(table)  # first: what was measured must not be lost if it cannot be written
    word = written_or_replaced(output)
    table.save(output)
    say(f"table {word}: {output}")
    return table, output


def classifier(arguments: argparse.Namespace) -> tuple[StagedNetwork, dict[str, Any]]:
    """The network of --arch with attention at every block, and its names in the table."""
    options = parse_options(arguments.attention_options, flag="--attention-options", example="reduction=8")
    names = {"attention": arguments.attention[0], "sharing": arguments.sharing}
    network = create_model(arguments.arch, num_classes=arguments.num_classes, attention_options=options, **names)
    return network, {"arch": arguments.arch, "options": options, **names}


def network_of_config(path: str) -> tuple[BackboneWrapper, dict[str, Any]]:
    """The Share-full network of another task's configuration, and its names in the table.

    Raises:
        EANError: if the task has none.
    """
    task = task_of_config(path)
    if task.share_full is None:
        raise EANError(f"{path} is a configuration of {task.name}: give --arch and --attention instead")
    network, spec = task.share_full(path)
    options = dict(spec.attention_options)
    names = {"arch": spec.arch, "attention": spec.attention, "options": options, "sharing": "stage"}
    return network, {**names, "model": task.model_kind}


def default_output(table: LatencyTable) -> Path:
    """work_dirs/benchmark/latency_ARCH_ATTENTION.json (counter_ARCH.. for a counter), numbered where there is one."""
    model = "" if table.model == "classifier" else f"{table.model}_"
    name = f"latency_{model}{table.arch}_{table.attention}".replace(":", "-").replace("/", "-")
    return free_path(f"{FOLDER}/{name}.json")


def block_names(table: LatencyTable) -> list[str]:
    """A name for each of the m blocks, in order: "stage 1 block 1", .."""
    return [f"stage {s + 1} block {b + 1}" for s, count in enumerate(table.blocks) for b in range(count)]


def describe(table: LatencyTable) -> str:
    """The conditions under which a table was measured, in a line."""
    return (
        f"batch of {table.batch_size}, {table.image_size}x{table.image_size} pixels, {table.device}, "
        f"{how_many(table.threads, 'thread')}, mode {table.setting}, {table.rounds} rounds, networks interleaved"
    )


def print_latency_table(table: LatencyTable) -> None:
    """Print the increments by block, then predictions beside measurements of whole networks."""
    title = f"{table.arch} with {table.attention}: time added by one connection"
    shown = make_table(title, ["block", "added ms", "increment % (95 %)"])
    for name, percent in zip(block_names(table), table.increments, strict=True):
        milliseconds = percent.value / 100 * table.org.value * 1e3
        cells = f"{milliseconds:+.3f}", f"{percent.value:+.2f} ({percent.low:+.2f} to {percent.high:+.2f})"
        shown.add_row(name, *cells)
    print_table(shown)
    heads = ["connections", "predicted", "measured (95 %)", "error, points", "scheme"]
    shown = make_table("whole networks: increment over Org in %", heads, left=["scheme"])
    for row in table.check["schemes"]:
        measured = "{value:+.2f} ({low:+.2f} to {high:+.2f})".format(**row["measured"])
        scheme = str(Scheme.parse(row["bits"], blocks=table.blocks))
        shown.add_row(
            f"{row['connections']}/{sum(table.blocks)}",
            f"{row['predicted']:+.2f}",
            measured,
            f"{row['error']:+.2f}",
            scheme,
        )
    print_table(shown)
    say(
        f"error of the prediction: mean {table.check['bias']:+.2f}, at most {table.check['max']:.2f} "
        f"percentage points of the increment, on "
        f"{how_many(len(table.check['schemes']), 'network')}; {table.check['within']} of the predictions lie within "
        "the interval of the measurement"
    )
    if table.bias_warning is not None:
        say(f"warning: {table.bias_warning}")
    if table.noise_warning is not None:
        say(f"warning: {table.noise_warning}")
    say(f"{ORG}: {table.org.value * 1e3:.2f} ms; {describe(table)}.")
