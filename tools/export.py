"""Export trained networks: ONNX, torch.export, safetensors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ean_core.cli import add_own_attention, load_attention, make_parser, positive
from ean_core.utils.errors import command

HELP = """\
example:
  python tools/export.py work_dirs/quickstart_digits/org-seed0/classifier.pth --to onnx torch safetensors
  python tools/export.py best.pth --to onnx --output-dir exported          a crowd counter: images to densities
  python tools/export.py last.pth --config segmentation/configs/ean_se_demo.py    a segmentor: images to logits

Writes NAME.onnx and NAME.pt2 (pruned, batch norm folded into the convolutions, for any batch and, where the network
allows it, any image size, with class names, mean, deviation and image size as metadata) and NAME.safetensors (the
pruned network's weights with scheme and recipe, which all commands here take in place of the .pth). A segmentor gives
the logits of every class at the images' size: their argmax is the class map, their softmax the probabilities. Each file
is read again and compared with the network on random images; one that differs by more than the tolerance is not
kept."""


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    parser = make_parser(HELP, usage="CHECKPOINT [options]")
    add = parser.add_argument
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a classifier.pth, best.pth or last.pth, or a .safetensors made of one",
    )
    add("--config", metavar="FILE", help="config of a segmentor; it is code and gets executed")
    add("--to", nargs="+", default=["onnx"], metavar="FORMAT", help="onnx, torch, safetensors (default onnx)")
    add("--output-dir", metavar="DIR", help="directory for the files (default: that of the checkpoint)")
    add(
        "--tolerance",
        type=positive,
        default=1e-4,
        metavar="X",
        help="largest difference allowed, relative to the largest output (default 1e-4)",
    )
    add_own_attention(parser)
    return parser.parse_args(argv)


@command
def main(argv: Sequence[str]) -> None:
    """Load the network, and export it in every requested format."""
    arguments = parse_arguments(argv)
    load_attention(arguments.attention)
    from pathlib import Path

    from ean_core.inference.export import FORMATS, export
    from ean_core.inference.loaded_model import load_file
    from ean_core.utils.errors import unknown_name
    from ean_core.utils.screen import say, say_next, script
    from ean_core.utils.shipped_files import results_folder

    for name in arguments.to:  # all of them before the first minute is spent
        if name not in FORMATS:
            raise unknown_name("format", name, list(FORMATS))
    model = load_file(arguments.checkpoint, device="cpu", config=arguments.config)
    directory = Path(arguments.output_dir) if arguments.output_dir else results_folder(model.path)
    say(model)
    for name in dict.fromkeys(arguments.to):
        say(export(model, name, directory, tolerance=arguments.tolerance))
    if model.kind == "classifier" and "safetensors" in arguments.to:
        exported = directory / f"{model.path.stem}.safetensors"
        say_next([*script("tools/predict.py"), exported, "PHOTO.jpg"])


if __name__ == "__main__":
    main(sys.argv[1:])
