"""Train a small classifier on scikit-learn's digits, then use it: predict, draw heatmaps, export it.

python examples/classify.py                    seconds on one core, everything in work_dirs/example_classify
python examples/classify.py --epochs 20 --scheme share-full
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import ean_core
from classification.job import start_job
from classification.recipe import Recipe
from ean_core.cli import at_least
from ean_core.inference.export import export
from ean_core.pipeline.retrain import make_target, train_network
from ean_core.utils.errors import command

RECIPE = Path(__file__).parents[1] / "classification" / "configs" / "quickstart_digits.py"


@command
def main() -> None:
    """Train a classifier, predict some images, draw their heatmaps and export the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=at_least(1), default=5, metavar="N", help="default 5")
    parser.add_argument("--scheme", default="100 100 010", help="org, share-full or bits (default 100 100 010)")
    parser.add_argument("--out-dir", type=Path, default=Path("work_dirs/example_classify"), metavar="DIR")
    arguments = parser.parse_args()
    out = arguments.out_dir

    # A recipe, its data, and a network with a fixed scheme; a finished one is reused.
    recipe = Recipe.from_file(RECIPE, {"train.epochs": arguments.epochs})
    job = start_job(recipe, data_root="data", directory=out, resume=True)
    trained = train_network(job, make_target(job, arguments.scheme), seed=0)

    # Image files, as a user has them.
    paths = []
    for label, image in zip(job.task.data.test.labels[:6].tolist(), job.task.data.test.images[:6], strict=True):
        paths.append(out / "photos" / str(label) / f"{len(paths)}.png")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(paths[-1])

    net = ean_core.load(trained / "classifier.pth")
    for path, guesses in zip(paths, net.predict(paths, topk=3), strict=True):
        print(f"a {path.parent.name}: {', '.join(map(str, guesses))}")
    print("written:", net.draw(paths, out / "seen.png", stage=1))  # of an 8x8 image the last stage has 2x2 positions
    print(export(net.model, "safetensors", out))


if __name__ == "__main__":
    main()
