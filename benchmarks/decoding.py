"""Decoding: images per second that one processor core opens, crops and resizes, as training on ImageNet needs them.

plain  PyTorch and torchvision alone: a data set of files, RandomResizedCrop, flip, ToTensor, Normalize
ours   this project's loader, whose batches stay bytes until the device normalizes them

Each with no worker processes, in this one: N workers on as many cores do N times as much. A training that sees more
images a second than its cores decode waits for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from options import parser

from ean_core.cli import at_least
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python benchmarks/decoding.py --quick                                        (seconds)
  python benchmarks/decoding.py --images data/voc_demo/JPEGImages

Without --images made-up photos of ImageNet's usual 500 x 375 pixels are decoded. Evaluation must give the same tensors
within rounding; training crops at random, so that its tensors are as large and no more."""

PARTS = ("training", "evaluation")
SIZE, RESIZE = 224, 256
Epoch = Callable[[], Any]
"""Goes over all images once and returns the last batch."""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    argument_parser = parser(HELP, quick="a few images", output=Path("work_dirs/speed_decoding.json"), threads="1")
    add = argument_parser.add_argument
    add(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="a folder of .jpg or .JPEG files, searched recursively (default: random ones)",
    )
    add("--count", type=at_least(1), default=100, metavar="N", help="largest number of images (default 100)")
    add("--batch-size", type=at_least(1), default=20, metavar="N", help="images per batch (default 20)")
    add("--rounds", type=at_least(1), default=9, metavar="N", help="turns of every side (default 9)")
    arguments = argument_parser.parse_args()
    if arguments.quick:
        arguments.count, arguments.batch_size, arguments.rounds = 4, 2, 2
    return arguments


def files(arguments: argparse.Namespace, place: Path) -> list[str]:
    """The images' paths: those of the folder and the folders in it (as ImageNet's), else made up in `place`.

    Raises:
        EANError: if the folder has none.
    """
    if arguments.images is None:
        return made_up(arguments.count, place)
    paths = sorted(str(path) for path in arguments.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not paths:
        raise EANError(f"no .jpg files in {arguments.images.absolute()}: give another --images, or none")
    return paths[: arguments.count]


def made_up(count: int, place: Path) -> list[str]:
    """Blurred noise of 500 x 375 pixels with a grain: JPEG files of about 0.1 MB, as photographs of that size are."""
    import numpy as np
    from PIL import Image

    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize((500, 375), Image.BICUBIC)
        pixels = np.asarray(coarse, dtype=np.float32) + rng.normal(0, 12, (375, 500, 1))
        paths.append(str(place / f"{number}.jpg"))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=92)
    return paths


def plain_epoch(paths: Sequence[str], batch_size: int, *, train: bool) -> Epoch:
    """As in the examples of PyTorch."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from ean_core.data.folder import MEAN, STD

    views = (
        [transforms.RandomResizedCrop(SIZE), transforms.RandomHorizontalFlip()]
        if train
        else [transforms.Resize(RESIZE), transforms.CenterCrop(SIZE)]
    )
    view = transforms.Compose([*views, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])

    class Files(Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> Any:
            with Image.open(paths[index]) as image:
                return view(image.convert("RGB"))

    loader = DataLoader(Files(), batch_size=batch_size, shuffle=train, drop_last=train)
    return lambda: last_of(loader)


def our_epoch(paths: Sequence[str], batch_size: int, *, train: bool) -> Epoch:
    """An epoch of the loader that the commands read ImageNet with."""
    import torch

    from ean_core.data import Augment, FolderSource, make_loader

    source = FolderSource(tuple(paths), torch.zeros(len(paths), dtype=torch.int64), image_size=SIZE, resize=RESIZE)
    augment = Augment() if train else None
    loader = make_loader(source, None, batch_size=batch_size, train=train, augment=augment, workers=0)
    return lambda: last_of(loader)["inputs"]


def last_of(batches: Any) -> Any:
    """The last batch of an epoch, after all others have been decoded too."""
    for batch in batches:
        last = batch
    return last


def compare(arguments: argparse.Namespace, paths: Sequence[str], part: str) -> dict[str, Any]:
    """Both sides in turns, in this process: neither changes anything for the other."""
    from ab_harness import check_equal, in_words, interleave, middle, row, timed, times_as_fast

    from ean_core.data.folder import MEAN, STD
    from ean_core.data.normalize import Normalize

    batch_size, train = min(arguments.batch_size, len(paths)), part == "training"
    epochs = {
        "plain": plain_epoch(paths, batch_size, train=train),
        "ours": our_epoch(paths, batch_size, train=train),
    }
    expected, got = epochs["plain"](), Normalize(MEAN, STD)(epochs["ours"]())
    if expected.shape != got.shape:
        raise EANError(f"{part}: plain gives {tuple(expected.shape)} and ours {tuple(got.shape)}: nothing is compared")
    if not train:
        check_equal("ours", expected, got, 1e-5)
    turns = {name: lambda epoch=epoch: timed(lambda: {"kept": len(epoch())}) for name, epoch in epochs.items()}
    timings = interleave(turns, arguments.rounds)
    seen = len(paths) - len(paths) % batch_size if train else len(paths)
    rows = {
        name: {**row(timings["plain"], turns), "images_per_second": seen / middle(turns)}
        for name, turns in timings.items()
    }
    speeds = ", ".join(f"{name} {measured['images_per_second']:.0f}" for name, measured in rows.items())
    speed_up = in_words(times_as_fast(timings["plain"], timings["ours"]))
    print(f"{part:<11}{speeds} images per second; ours {speed_up} as fast")
    return rows


@command
def main() -> None:
    """Decode an epoch with each side in turns, print the speeds and write the record."""
    arguments = parse_arguments()
    import tempfile

    import torch
    from ab_harness import write

    torch.set_num_threads(arguments.threads or 1)  # a core is to be measured
    with tempfile.TemporaryDirectory() as place:
        paths = files(arguments, Path(place))
        metrics = {part: compare(arguments, paths, part) for part in PARTS}
    write(arguments, metrics, images=str(arguments.images) if arguments.images else "made up", count=len(paths))


if __name__ == "__main__":
    main()
