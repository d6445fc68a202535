"""Train a small crowd counter on a synthetic crowd, then use it: count, and draw heatmaps of the count.

python examples/count.py                       about a minute on one core, everything in work_dirs/example_count
python examples/count.py --epochs 30           a better counter
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crowd_counting.data.demo import PART, draw_demo
from crowd_counting.data.load import load_crowd
from crowd_counting.evaluation import load_model
from crowd_counting.fit import train_counter
from crowd_counting.job import Job
from crowd_counting.model.tiles import predict_density
from crowd_counting.recipe import Recipe
from ean_core.cli import at_least
from ean_core.data.read_image import read_image
from ean_core.inference.explain.gallery import explain
from ean_core.inference.loaded_model import load_file
from ean_core.utils.errors import command

RECIPE = Path(__file__).parents[1] / "crowd_counting" / "configs" / "demo.py"


@command
def main() -> None:
    """Draw a synthetic crowd, train a counter, count the test images and draw heatmaps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=at_least(1), default=6, metavar="N", help="default 6")
    parser.add_argument(
        "--images", type=at_least(1), default=24, metavar="N", help="number of training images (default 24)"
    )
    parser.add_argument("--out-dir", type=Path, default=Path("work_dirs/example_count"), metavar="DIR")
    arguments = parser.parse_args()
    out = arguments.out_dir

    if not (out / "data" / PART).exists():
        draw_demo(out / "data", train=arguments.images, test=3)
    data = load_crowd(parts=["demo"], data_root=str(out / "data"))

    options = {"train.epochs": arguments.epochs, "model.attention": "se", "data.workers": 0}
    job = Job.prepare(Recipe.read(RECIPE, options), data, directory=out, resume=True)
    trained = train_counter(job, seed=0) / "best.pth"

    model, _ = load_model(trained)
    for image in data.test:
        density, _ = predict_density(model, np.asarray(read_image(image.path)))
        print(f"{image.name}: predicted {density.sum():.1f}, true {image.count}")
    images = [(image.name, read_image(image.path), None) for image in data.test]
    print("written:", explain([load_file(trained)], images, out / "seen.png").path)


if __name__ == "__main__":
    main()
