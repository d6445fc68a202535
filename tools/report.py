"""Turn the records under results/ into tables and one HTML page: ours beside the paper's, with the set-up of both."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ean_core.cli import file_of, make_parser
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python tools/report.py --html report.html                         one page with every table and picture
  python tools/report.py --html report.html work_dirs/NAME          the same, with what that run wrote
  python tools/report.py                                            print the README's tables
  python tools/report.py --write README.md docs/results.md          put the tables between the files' report marks
  python tools/report.py --check README.md docs/results.md          exit with 1 if a file does not show the records

Reads every record in results/ (or --results DIR). The page needs no other file, no network and no script. A value
without a record is shown as a gap, with the command that would measure it."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[--html FILE [RUN_FOLDER ...]] [options]")
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN_FOLDER", help="work directories to show on the page too")
    add("--html", type=file_of(".html"), metavar="FILE", help="write the page")
    add("--results", metavar="DIR", help="where the records are (default results, if there is one)")
    add("--write", nargs="+", metavar="FILE", help="replace the tables in these files")
    add("--check", nargs="+", metavar="FILE", help="only compare with these files")
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Write, check or print the tables, and write the page."""
    arguments = parse_arguments(argv)
    from pathlib import Path

    from ean_core.report import html_report, refresh, report
    from ean_core.utils.files import write_atomic

    directory = Path(arguments.results or "results")
    if arguments.runs and arguments.html is None:
        raise EANError(f"run folders go on the page: give --html FILE with {' '.join(arguments.runs)}")
    if arguments.html is not None:
        optional = arguments.results is None and arguments.runs and not directory.exists()
        text = html_report(None if optional else directory, [Path(run) for run in arguments.runs])
        write_atomic(arguments.html, text)
        print(f"{arguments.html} written, {len(text) / 1e6:.1f} MB; open it in any browser")
    for name in arguments.write or ():
        old, new = refresh(Path(name), directory)
        write_atomic(name, new)
        print(f"{name} {'was up to date' if old == new else 'updated'}")
    stale = False
    for name in arguments.check or ():
        old, new = refresh(Path(name), directory)
        stale |= old != new
        print(f"{name} {'shows' if old == new else 'does not show'} what the records hold")
    if not (arguments.html or arguments.write or arguments.check):
        print(report(directory))
    sys.exit(stale)


if __name__ == "__main__":
    main(sys.argv[1:])
