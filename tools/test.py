"""Test a trained classifier (top-1, top-5, which classes are taken for which) or segmentor (mIoU, mAcc, aAcc)."""

from __future__ import annotations

import argparse

from ean_core.cli import add_own_attention, at_least, load_attention, parse_options
from ean_core.utils.errors import EANError, command

HELP = """\
example:
  python tools/test.py classification/configs/quickstart_digits.py work_dirs/quickstart_digits/org-seed0/classifier.pth
  python tools/test.py segmentation/configs/ean_se_voc.py work_dirs/ean_se_voc/last.pth --tta

Prints top-1 and top-5 accuracy on the recipe's test images, and writes test.json (with every class's accuracy and the
most frequent confusions) and confusion.csv (rows: the true class, columns: the predicted one) beside the checkpoint.
For a segmentor, prints IoU and accuracy of every class and their means, and writes them to test.json."""


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=raw, usage="%(prog)s CONFIG CHECKPOINT [options]"
    )
    parser.add_argument("config", metavar="CONFIG", help="the recipe whose data is meant")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a classifier.pth, or a segmentor's last.pth")
    parser.add_argument("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    parser.add_argument("--out-dir", metavar="DIR", help="where the results go (default beside the checkpoint)")
    parser.add_argument(
        "--batch-size", type=at_least(1), default=500, metavar="N", help="classifiers: images per forward (default 500)"
    )
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="K=V", help="replace recipe fields")
    parser.add_argument(
        "--slide", type=at_least(16), metavar="N", help="segmentors: in windows of N pixels, a third overlapping"
    )
    parser.add_argument("--tta", action="store_true", help="segmentors: average over flips and several scales")
    add_own_attention(parser)
    return parser.parse_args()


@command
def main() -> None:
    """Parse, build, run."""
    arguments = parse_arguments()
    load_attention(arguments.attention)
    from ean_core.utils.tasks import task_of

    task = task_of(arguments.config)
    if task == "crowd_counting":
        raise EANError(f"{arguments.config} is a counter's recipe: python crowd_counting/test.py CHECKPOINT --part A")
    if task == "segmentation":
        from segmentation.commands import test_segmentor

        test_segmentor(arguments)
        return
    if arguments.slide is not None or arguments.tta:
        raise EANError("--slide and --tta are for segmentors: leave them out for a classifier")
    test_classifier(arguments)


def test_classifier(arguments: argparse.Namespace) -> None:
    """Score a classifier on its recipe's test images."""
    from pathlib import Path

    from classification.evaluate import evaluate, write_test
    from classification.job import Job
    from classification.recipe import Recipe
    from ean_core.networks.checkpoint import load_network
    from ean_core.utils.devices import warn_of_unused_gpu
    from ean_core.utils.files import writable

    warn_of_unused_gpu()
    out = writable(arguments.out_dir or Path(arguments.checkpoint).parent)
    recipe = Recipe.from_file(arguments.config, parse_options(arguments.cfg_options))
    network, content = load_network(arguments.checkpoint)
    job = Job.start(recipe, data_root=arguments.data_root, directory=arguments.out_dir or ".")
    known, wanted = content["classes"], list(job.data.classes)
    if known != wanted:
        raise EANError(
            f"{arguments.checkpoint} has {len(known)} classes ({', '.join(known[:3])}, ..) and {job.data.name} has "
            f"{len(wanted)} ({', '.join(wanted[:3])}, ..): give the recipe that the checkpoint was trained with"
        )
    metrics, matrix = evaluate(job, network, batch_size=arguments.batch_size)
    images = f"{job.data.name}, {metrics['images']} test images"
    print(f"{images}: top-1 {metrics['top1']:.2f} %, top-5 {metrics['top5']:.2f} %", flush=True)
    write_test(out, job, metrics, matrix, checkpoint=arguments.checkpoint)
    print(f"written: {out / 'test.json'}, {out / 'confusion.csv'}")


if __name__ == "__main__":
    main()
