"""Open a local page to try trained networks on photos."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ean_core.cli import add_own_attention, at_least, load_attention, make_parser
from ean_core.utils.errors import EANError, command

if TYPE_CHECKING:
    from ean_core.inference.loaded_model import LoadedModel

HELP = """\
example:
  python tools/demo.py                                                 with the models that come with the project
  python tools/demo.py org/classifier.pth share_full/classifier.pth ean/classifier.pth
  python tools/demo.py last.pth --config segmentation/configs/ean_se_voc.py --port 8000

Opens a page for this machine only. Drop a photo on it: counters show the count and the density, segmentors the classes
of the pixels, classifiers the classes with Grad-CAM; networks of one kind are shown side by side, with their
connections to attention and their times. Photos are not kept and nothing is sent away. Needs the extra [demo]."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="[CHECKPOINT..] [options]")
    add = parser.add_argument
    add(
        "checkpoints",
        nargs="*",
        metavar="CHECKPOINT",
        help="classifiers, counters and segmentors, or names of tools/models.py (default: all models there)",
    )
    add("--config", metavar="FILE", help="config of the segmentors; it is code and gets executed")
    add("--host", default="127.0.0.1", metavar="NAME", help="address to serve at (default 127.0.0.1: this machine)")
    add("--port", type=at_least(0), default=7860, metavar="N", help="port (default 7860; 0 for any that is free)")
    add("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: cuda if available)")
    add_own_attention(parser)
    return parser.parse_args(argv)


def load_any(checkpoint: str, *, config: str | None, device: str | None) -> LoadedModel:
    """Load a network of any task; the config is for those that cannot be loaded without it."""
    from ean_core.inference.loaded_model import load_file

    try:
        return load_file(checkpoint, device=device)
    except EANError:
        if config is None:
            raise
        return load_file(checkpoint, device=device, config=config)


@command
def main(argv: Sequence[str]) -> None:
    """Load the networks and serve the page."""
    arguments = parse_arguments(argv)
    from ean_core.utils.optional_packages import require

    require("gradio", extra="demo", what="the page")
    load_attention(arguments.attention)
    from ean_core.inference.demo.page import LOOPBACK, serve
    from ean_core.inference.shipped_models import models
    from ean_core.utils.screen import say

    names = list(dict.fromkeys(arguments.checkpoints)) or [model.name for model in models()]
    if not names:
        raise EANError("no trained models come with this version: give checkpoints")
    networks = [load_any(name, config=arguments.config, device=arguments.device) for name in names]

    def started(address: str) -> None:
        if arguments.host not in LOOPBACK:
            say(f"note: --host {arguments.host}: whoever reaches this machine over the network can use the page")
        say(f"the page is at {address} (Ctrl-C ends it)")

    serve(networks, host=arguments.host, port=arguments.port, started=started)


if __name__ == "__main__":
    main(sys.argv[1:])
