"""Compare the search methods on made-up rewards whose best scheme is known, with the same limit on schemes scored."""

from __future__ import annotations

import argparse
from pathlib import Path

from landscape_suite import LANDSCAPES, MAIN, SIZES, VARIANTS

from ean_core.cli import at_least, file_of, seed
from ean_core.utils.errors import command, unknown_name

HELP = """\
example:
  python benchmarks/search_landscapes.py --methods natural random genetic --bits 16 --seeds 5          (a minute)
  python benchmarks/search_landscapes.py --methods natural paper paper-lr0.003 --bits 54 --landscapes noise
  python benchmarks/search_landscapes.py                             every method and landscape: about an hour

Regret is the true reward of the best scheme minus that of the method's answer, in points, without the noise that the
search saw. Three answers are looked at: the scheme with the highest reward seen, the same once chance is taken out
(ean_core/search/smoothing.py), and, for methods that hold probabilities, the most probable scheme. Every seed is a
landscape of its own. A method that proposes the same schemes again and again is stopped at 1.5 proposals per scheme
that it may score."""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    add = parser.add_argument
    add(
        "--methods",
        nargs="+",
        default=MAIN,
        metavar="NAME",
        help=f"of {', '.join(VARIANTS)} (default: {MAIN[0]} to {MAIN[-1]}), or as tools/search.py takes them: "
        "ean:curiosity_weight=0, your FILE.py:CLASS",
    )
    add(
        "--landscapes",
        nargs="+",
        default=list(LANDSCAPES),
        metavar="NAME",
        help=f"of {', '.join(LANDSCAPES)} (default: all)",
    )
    add("--bits", nargs="+", type=int, default=list(SIZES), choices=list(SIZES), help="sizes (default: all)")
    add("--seeds", type=at_least(1), default=20, metavar="N", help="landscapes of each kind (default 20)")
    add(
        "--first-seed",
        type=seed,
        default=1000,
        metavar="N",
        help="seed of the first landscape (default 1000; the defaults of `natural` were chosen on those from 0 on)",
    )
    add(
        "--output",
        type=file_of(".json"),
        default=Path("results/search_landscapes.json"),
        metavar="JSON",
        help="the record; .png beside it",
    )
    add(
        "--cache",
        type=Path,
        default=Path("work_dirs/search_landscapes.jsonl"),
        metavar="FILE",
        help="what was run; delete it after changing a method",
    )
    return parser.parse_args()


@command
def main() -> None:
    """Run all searches, and write the record, its table and its picture."""
    arguments = parse_arguments()
    from landscape_study import add_variants, draw, run_all, summarize_regrets, table

    from ean_core.io.records import write_record
    from ean_core.search import Reward
    from ean_core.search.reward_landscapes import KINDS, PATIENCE
    from ean_core.utils.screen import console

    arguments.methods = add_variants(arguments.methods)
    for name in arguments.landscapes:
        if name not in KINDS:
            raise unknown_name("landscape", name, list(KINDS))
    rows = summarize_regrets(run_all(arguments), arguments)
    settings = {
        "seeds": arguments.seeds,
        "first_seed": arguments.first_seed,
        "sizes": {bits: {"blocks": SIZES[bits][0], "evaluations": SIZES[bits][1]} for bits in arguments.bits},
        "landscapes": {kind: KINDS[kind] for kind in arguments.landscapes},
        "methods": {name: {"method": VARIANTS[name][0], "options": VARIANTS[name][1]} for name in arguments.methods},
        "reward": vars(Reward()),
        "proposals_at_most": f"{PATIENCE} per evaluation",
        "regret": "points; mean and 95 % interval over seeds, at each number of evaluations",
    }
    write_record(arguments.output, kind="search-benchmark", settings=settings, metrics=rows)
    draw(rows, arguments, arguments.output.with_suffix(".png"))
    console().print(table(rows, arguments), markup=False, highlight=False, soft_wrap=True)
    print(f"wrote {arguments.output} and {arguments.output.with_suffix('.png')}")


if __name__ == "__main__":
    main()
