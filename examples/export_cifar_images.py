"""Write CIFAR test images as PNG files, one folder per class, for commands that take image files.

    python examples/export_cifar_images.py images apple bee bicycle castle elephant sunflower

Always the first COUNT test images of each class, so that nobody picks the ones that look good.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from ean_core.cli import at_least
from ean_core.data import load_data
from ean_core.utils.errors import command, unknown_name


@command
def main() -> None:
    """Write the first COUNT test images of each class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the class folders")
    parser.add_argument("classes", nargs="+", metavar="CLASS")
    parser.add_argument("--data", default="cifar100", help="cifar100 or cifar10 (default cifar100)")
    parser.add_argument("--data-root", default="data", metavar="DIR", help="folder of the archive (default data)")
    parser.add_argument("--count", type=at_least(1), default=1, metavar="N", help="images per class (default 1)")
    arguments = parser.parse_args()
    data = load_data(arguments.data, arguments.data_root)
    for name in arguments.classes:
        if name not in data.classes:
            raise unknown_name("class", name, data.classes)
        of_class = (data.test.labels == data.classes.index(name)).nonzero().flatten()[: arguments.count]
        for index in of_class.tolist():
            path = arguments.folder / name / f"{name}_test{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(data.test.images[index].permute(1, 2, 0).numpy()).save(path)
            print(path)


if __name__ == "__main__":
    main()
