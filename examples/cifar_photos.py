"""Write CIFAR test images as PNG files, in a folder per class, for the commands that take photos.

    python examples/cifar_photos.py photos apple bee bicycle castle elephant sunflower

The rule is fixed, so that nobody picks what looks good: of each class named, the first COUNT images of the test file.
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
    """Parse, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the class folders go")
    parser.add_argument("classes", nargs="+", metavar="CLASS")
    parser.add_argument("--data", default="cifar100", help="cifar100 or cifar10 (default cifar100)")
    parser.add_argument("--data-root", default="data", metavar="DIR", help="where the archive is (default data)")
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
