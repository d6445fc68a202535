"""Turn the records under results/ into the README's tables: ours beside the paper's, with the set-up of both."""

from __future__ import annotations

import argparse

from ean_core.errors import command

HELP = """\
example:
  python tools/report.py                      print the tables
  python tools/report.py --write README.md    put them between the README's report marks
  python tools/report.py --check README.md    exit with 1 if the README does not show what the records hold

Reads every record in results/ (or --results DIR). A figure without a record is shown as a gap, never made up."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s [options]")
    parser.add_argument("--results", default="results", metavar="DIR", help="where the records are (default results)")
    parser.add_argument("--write", metavar="FILE", help="replace the tables in this file")
    parser.add_argument("--check", metavar="FILE", help="only compare with this file")
    return parser.parse_args()


@command
def main() -> None:
    """Parse, build, run."""
    arguments = parse_arguments()
    import sys
    from pathlib import Path

    from ean_core.files import write_atomic
    from ean_core.report import replace_report, report

    text = report(Path(arguments.results))
    if arguments.write is None and arguments.check is None:
        print(text)
        return
    path = Path(arguments.write or arguments.check)
    old, new = replace_report(path, text)
    if arguments.check is not None:
        print(f"{path} {'shows' if old == new else 'does not show'} what the records hold")
        sys.exit(old != new)
    write_atomic(path, new)
    print(f"{path} {'was up to date' if old == new else 'updated'}")


if __name__ == "__main__":
    main()
