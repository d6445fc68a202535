"""Train classifiers of fixed connections from scratch: Org, Org-full, Share-full, or a searched scheme."""

from __future__ import annotations

import sys

from classification.train import main
from ean_core.utils.errors import command

if __name__ == "__main__":
    command(main)(sys.argv[1:])
