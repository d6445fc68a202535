"""Summarize runs over several seeds in one record."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ean_core.cli import file_of, make_parser
from ean_core.utils.errors import command

HELP = """\
example:
  python segmentation/summary.py work_dirs/seg/* --output results/voc_person_subset.json

Reads the result.json of every directory; runs may differ only in network, initial weights and seed. Prints a table of
mean and standard deviation of mIoU, mAcc, aAcc and class IoUs, and writes it as a record, with pictures of the first
directory's last validation next to it as .predictions.jpg."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="DIR.. --output JSON")
    parser.add_argument("directories", nargs="+", metavar="DIR", help="work directories of tools/train.py")
    parser.add_argument("--output", required=True, type=file_of(".json"), metavar="JSON", help="path of the record")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Read and compare the runs, print the table and write the record."""
    arguments = parse_arguments(argv)
    from pathlib import Path

    from ean_core.io.records import write_record
    from ean_core.utils.files import written_or_replaced
    from ean_core.utils.screen import say, say_verdict
    from segmentation.run_records import common_settings, read_run
    from segmentation.seed_summary import print_rows, stack_pictures, summarize_runs
    from segmentation.verdict import compare_all

    records = [read_run(Path(directory)) for directory in arguments.directories]
    rows = summarize_runs(records)
    settings = common_settings(records)
    word = written_or_replaced(arguments.output)
    write_record(arguments.output, kind="segmentation", settings=settings, metrics=rows)
    print_rows(rows, title=f"{settings['title']}: {settings['data']['val']['images']} validation images")
    say_verdict(compare_all(records))
    say(f"record {word}: {arguments.output}")
    if sheet := stack_pictures(Path(arguments.directories[0]), settings["iterations"], arguments.output):
        say(f"pictures: {sheet}")


if __name__ == "__main__":
    main(sys.argv[1:])
