"""The Pareto front of a search, accuracy against time or connections: list it, and take a point as scheme.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ean_core.cli import at_least, file_of, make_parser
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python tools/pareto.py work_dirs/quickstart_digits                                       list the front
  python tools/pareto.py work_dirs/quickstart_digits --take 3 --output scheme.json         write a point as a scheme
  python tools/pareto.py work_dirs/ean_se_r164_cifar100 --latency work_dirs/benchmark/latency_resnet164_se.json
  python tools/pareto.py work_dirs/NAME/comparison                                   of all schemes scored by --methods

Reads history.jsonl and scheme.json of a finished search, or scores.jsonl and comparison.json of a comparison, and
writes pareto.json and pareto.png beside them. The cost is the predicted time increment where the search had a latency
table or one is given, else the number of connections."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="WORK_DIR [options]")
    parser.add_argument("work_dir", type=Path, metavar="WORK_DIR", help="work directory of a search")
    parser.add_argument("--latency", metavar="FILE", help="latency table written by tools/benchmark.py --per-block")
    parser.add_argument("--take", type=at_least(1), metavar="N", help="write point N as a scheme file")
    parser.add_argument(
        "--output",
        type=file_of(".json"),
        metavar="JSON",
        help="path of the scheme file (default WORK_DIR/scheme_pareto_N.json)",
    )
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Print the front, and write the chosen point as a scheme."""
    arguments = parse_arguments(argv)
    if arguments.output is not None and arguments.take is None:
        raise EANError("--output is for the point that --take N names: give both")
    from ean_core.benchmark.latency_table import LatencyTable
    from ean_core.io.made_from import claim_outputs, digest_of
    from ean_core.pipeline.pareto_file import read_front, take_point
    from ean_core.pipeline.pareto_front import write_front
    from ean_core.scheme import Scheme
    from ean_core.search.pareto import COSTS
    from ean_core.utils.screen import make_table, print_table, say, say_next, script

    table = LatencyTable.load(arguments.latency) if arguments.latency else None
    path = write_front(arguments.work_dir, table=table)
    front = read_front(path)
    unit = COSTS["increment"] if front["cost"] == "increment" else None  # connections have a column anyway
    heads = ["point", "validation score %", *([unit] if unit else []), "connections", "scheme"]
    front_table = make_table(f"{len(front['points'])} of {front['scored']} scored schemes", heads, left=["scheme"])
    for point in front["points"]:
        scheme = Scheme.parse(point["bits"], blocks=front["blocks"])
        cost = [f"{point['cost']:.2f}"] if unit else []
        row = (f"{point['accuracy']:.2f}", *cost, f"{scheme.connections}/{len(scheme)}", str(scheme))
        front_table.add_row(str(point["number"]), *row)
    print_table(front_table)
    say(
        "These are scores on the supernet, and those of the best of many schemes: networks trained from scratch have "
        "other accuracies.",
        f"front: {path}  {path.with_suffix('.png')}",
    )
    if arguments.take is not None:
        output = arguments.output or arguments.work_dir / f"scheme_pareto_{arguments.take}.json"
        if arguments.output is None:
            claim_outputs(output.parent, {output.name: {"front": digest_of(front)}}, option="--output")
        say(f"point {arguments.take}: {take_point(front, arguments.take, output)}  ({output})")
        say_next([*script("tools/train_cls.py"), "CONFIG", "--scheme", "org", output])
    else:
        number = front["points"][-1]["number"]
        say_next([*script("tools/pareto.py"), arguments.work_dir, "--take", number])


if __name__ == "__main__":
    main(sys.argv[1:])
