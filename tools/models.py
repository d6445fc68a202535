"""List the trained models that come with the project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ean_core.cli import make_parser
from ean_core.utils.errors import command

HELP = """\
example:
  python tools/models.py

Lists the trained models that come with the project: what each was trained and tested on, how good it is there, and
where it should not be used. Their names stand for checkpoints in every command and in ean_core.load."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    return make_parser(HELP, usage="").parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Print a few lines per model."""
    parse_arguments(argv)
    from ean_core.inference.shipped_models import models
    from ean_core.utils.screen import say

    none = "no trained models come with this version: train one, and give its checkpoint to the commands"
    say(*"\n\n".join(map(str, models())).splitlines() or [none])


if __name__ == "__main__":
    main(sys.argv[1:])
