"""Time networks with and without attention: parameters, FLOPs, and the inference time increment of Eq. 9.

Efficient Attention Network (https://arxiv.org/abs/2011.14058): the columns of its Table 1 that need no training.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from ean_core.cli import at_least, file_of, make_parser, seed
from ean_core.utils.errors import command

HELP = """\
example:
  python tools/benchmark.py --arch resnet50 --attention se --scheme 0100010110011001
  python tools/benchmark.py --arch resnet164 --attention se sge dia --scheme work_dirs/search/scheme.json
  python tools/benchmark.py --arch resnet20 --batch-size 2 --rounds 5      (seconds on a laptop)
  python tools/benchmark.py --arch resnet50 --attention se --per-block     a table for search.latency
  python tools/benchmark.py --per-block --config crowd_counting/configs/demo.py --image-size 128   for its counter
  python tools/benchmark.py --counter --arch resnet50 --attention se       whole crowd counters (Table 3)
  python tools/benchmark.py --config segmentation/configs/ean_se_voc.py    whole segmentors (Table 5)

Compares Org (no attention), Org-full (a module per block), Share-full (one per stage) and, with --scheme, EAN.
With --per-block: the time that connecting each block adds to Org, and how well the sums predict whole networks."""
NOTES = """\
modes, each compared with an Org in the same mode, and skipped with a sentence where the device cannot run it:
  eager          the network as it was trained: float32, contiguous
  channels_last  the layout that convolution kernels work in
  folded         channels_last, batch norm folded into the convolutions
  bf16           folded, in bfloat16
  compiled       folded, through torch.compile: on a CPU one program, else its blocks (up to a minute per network)
  compiled_bf16  compiled, in bfloat16
  max_autotune   compiled, with kernels tuned on the device and CUDA graphs (CUDA; minutes per network)
  cuda_graph     folded, captured in a CUDA graph (CUDA)
  fused          cuda_graph, with attention, sum and ReLU in this project's kernels (CUDA)
  fused_bf16     fused, in bfloat16

GFLOPs are 1e9 multiply-adds of convolutions and matrix products for one image; element-wise work is not counted.
The increment is the median over the rounds of (t_with - t_without) / t_without, with a 95 % bootstrap interval."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[options]", epilog=NOTES)
    add = parser.add_argument
    add("--arch", help="resnet164, resnet50, .. (default: the one that --scheme's file names)")
    add("--attention", nargs="+", metavar="NAME", help="se, sge, dia, .. (default: the scheme file's, or se)")
    add(
        "--scheme",
        nargs="+",
        default=[],
        metavar="BITS|FILE",
        help="scheme of EAN: one for all attentions, or one for each",
    )
    add("--counter", action="store_true", help="time crowd counters over the networks, with density maps of stride 8")
    add(
        "--config",
        metavar="FILE",
        help="time the segmentors of this config; replaces --arch, --attention and --scheme; with --per-block also a "
        "counting recipe",
    )
    add_image_arguments(parser)
    add_per_block_arguments(parser)
    add(
        "--rounds",
        type=at_least(1),
        default=50,
        metavar="N",
        help="timed rounds per network, of at least 20 ms each (default 50)",
    )
    add("--modes", nargs="+", metavar="NAME", help="see below (default eager folded; eager with --per-block)")
    add("--device", help="cpu, cuda, cuda:1 (default: cuda if available)")
    add("--threads", type=at_least(1), metavar="N", help="CPU threads (default: as torch chooses)")
    add("--seed", type=seed, default=0, metavar="N", help="seed of weights, images and bootstrap (default 0)")
    add(
        "--output",
        type=file_of(".json"),
        metavar="JSON",
        help="path of the record; the chart is written next to it (default: a new file in work_dirs/benchmark/)",
    )
    return parser.parse_args(argv)


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the batch and the number of outputs."""
    add = parser.add_argument
    add("--batch-size", type=at_least(1), metavar="N", help="images per forward pass (default 50; whole models 1)")
    add(
        "--image-size",
        type=at_least(1),
        metavar="N",
        help="side of the images in pixels (default 32 for CIFAR, else 224; whole models 512)",
    )
    add("--num-classes", type=at_least(1), metavar="N", help="default 100 for CIFAR's networks, else 1000")


def add_per_block_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what only the measurement of a latency table takes."""
    add = parser.add_argument
    add("--per-block", action="store_true", help="measure a latency table for the search, and check it")
    add("--sharing", default="stage", help="with --per-block: stage (default), or block for the modules of Org-full")
    add("--attention-options", nargs="+", default=[], metavar="K=V", help="with --per-block: as in a recipe")
    add(
        "--check",
        type=at_least(1),
        default=6,
        metavar="N",
        help="with --per-block: number of networks to check the table on (default 6)",
    )


@command
def main(argv: Sequence[str]) -> None:
    """Measure the networks, print the tables, and write record and chart."""
    arguments = parse_arguments(argv)
    import torch

    from ean_core.benchmark import compare as benchmark
    from ean_core.utils.allocator import keep_freed_memory
    from ean_core.utils.screen import say_next, script

    benchmark.check_arguments(arguments)
    # Else a part of a batch's time on a CPU is the mapping of memory, which changes with every change of a network.
    kept = keep_freed_memory()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True  # one input shape: let cuDNN try its kernels and keep the fastest
    if arguments.per_block:
        time_blocks(arguments)
        return
    time_networks(arguments, kept=kept)
    if not (arguments.config or arguments.counter):
        options = ["--arch", arguments.arch, "--attention", arguments.attention[0]]
        say_next([*script("tools/benchmark.py"), *options, "--per-block"])


def time_blocks(arguments: argparse.Namespace) -> None:
    """Measure a latency table, and write it and its chart."""
    from ean_core.benchmark.per_block import measure_blocks
    from ean_core.report.time_charts import draw_table
    from ean_core.utils.screen import say, say_next, script

    table, path = measure_blocks(arguments)
    say(f"chart: {draw_table(path.with_suffix('.png'), table)}")
    limit = ["--cfg-options", f"search.latency={path}", "search.max_increment=10"]
    say_next([*script("tools/search.py"), "CONFIG", *limit])


def time_networks(arguments: argparse.Namespace, *, kept: bool) -> None:
    """Time whole networks, print the tables, and write record and chart.

    Args:
        arguments: of the command line.
        kept: whether freed memory is kept, for the record.
    """
    import torch

    from ean_core.benchmark import compare as benchmark
    from ean_core.io.records import write_record
    from ean_core.report.time_charts import draw_increments
    from ean_core.utils.files import free_path, writable, written_or_replaced
    from ean_core.utils.screen import say

    networks = build_networks(arguments)
    writable(arguments.output.parent if arguments.output else benchmark.FOLDER)
    shape = benchmark.batch_shape(arguments, networks["Org"])
    batch = torch.randn(arguments.batch_size, *shape).to(arguments.device)
    results, skipped = benchmark.time_rows(
        networks, batch, arguments.modes, rounds=arguments.rounds, seed=arguments.seed
    )
    rows = benchmark.describe_rows(networks, results, shape)
    threads = torch.get_num_threads()
    settings = {**vars(arguments), "image_size": shape[1], "threads": threads, "kept_memory": kept, "skipped": skipped}
    settings["settings"] = settings.pop("modes")  # the key of earlier records
    output = arguments.output or free_path(f"{benchmark.FOLDER}/{benchmark.benchmark_name(arguments)}.json")
    benchmark.print_tables(rows, list(results))
    for mode, reason in skipped.items():
        say(f"skipped {mode}: {reason}")
    for mode, warning in benchmark.noise_warnings(rows, list(results)).items():
        say(f"warning: mode {mode}: {warning}")
    say(f"Medians and their 95 % bootstrap intervals; {benchmark.how_measured(settings)}.")
    word = written_or_replaced(output)
    say(f"record {word}: {write_record(output, kind='benchmark', settings=settings, metrics=rows)}")
    chart = draw_increments(output.with_suffix(".png"), rows, settings)
    if chart is not None:
        say(f"chart:  {chart}")


def build_networks(arguments: argparse.Namespace) -> dict[str, Any]:
    """The rows: classifiers, or the whole models of another task."""
    options = {"seed": arguments.seed, "device": arguments.device}
    if arguments.config:
        from segmentation.third_party import ignore_warnings

        ignore_warnings()
        from segmentation.benchmark import build_segmentors

        return build_segmentors(arguments.config, **options)
    rows = (arguments.arch, arguments.attention, arguments.scheme)
    if arguments.counter:
        from crowd_counting.benchmark import build_counters

        return build_counters(*rows, **options)
    from ean_core.benchmark.compare import build_rows

    return build_rows(*rows, num_classes=arguments.num_classes, **options)


if __name__ == "__main__":
    main(sys.argv[1:])
