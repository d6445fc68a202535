"""How much of a path's score is its own, and how much is batch-norm statistics that fit no path?

Scores the full, the empty and random schemes on a trained supernet, with the running statistics of its training (the
paper's way) and with statistics re-estimated for each scheme, and says how the scores spread in either case.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ean_core.cli import at_least, file_of
from ean_core.utils.errors import command
from ean_core.utils.files import free_path

HELP = """\
example:
  python benchmarks/batch_norm.py classification/configs/quickstart_digits.py \\
      work_dirs/quickstart_digits/supernet.pth"""


def parse_arguments() -> argparse.Namespace:
    """Parse the command line; nothing heavy is imported for it."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=HELP, formatter_class=raw, usage="%(prog)s CONFIG SUPERNET [options]")
    parser.add_argument("config", metavar="CONFIG", help="the recipe with which the supernet was trained")
    parser.add_argument("supernet", metavar="SUPERNET", help="a supernet.pth")
    parser.add_argument("--schemes", type=at_least(1), default=18, metavar="N", help="random schemes (default 18)")
    parser.add_argument(
        "--images",
        type=at_least(1),
        default=2000,
        metavar="N",
        help="training images over which batch norm is calibrated (default 2000)",
    )
    parser.add_argument("--data-root", default="data", metavar="DIR", help="where the data sets are (default data)")
    parser.add_argument(
        "--output",
        type=file_of(".json"),
        default=free_path("work_dirs/batch_norm.json"),
        metavar="JSON",
        help="the record",
    )
    return parser.parse_args()


@command
def main() -> None:
    """Score the same schemes with running and with calibrated statistics, and write the record."""
    arguments = parse_arguments()
    import numpy as np
    from mmengine.device import get_device

    from classification.job import start_job
    from classification.recipe import Recipe
    from ean_core.io.records import write_record
    from ean_core.networks.network_file import load_network
    from ean_core.scheme import Scheme
    from ean_core.utils.files import sha256_of

    recipe = Recipe.from_file(arguments.config)
    network = load_network(arguments.supernet)[0].to(get_device())
    job = start_job(recipe, data_root=arguments.data_root, directory=Path(arguments.supernet).parent)
    blocks, rng = network.stages_blocks, np.random.default_rng(0)
    schemes = [Scheme.all_on(blocks), Scheme.all_off(blocks)]
    schemes += [Scheme.random(blocks, rng) for _ in range(arguments.schemes)]
    scores = {}
    for name, images in (("running", 0), ("re-estimated", arguments.images)):
        search = dataclasses.replace(recipe.search, bn_images=images)
        scores[name] = job.replace_recipe(search=search).task.make_scorer(network)(schemes)
        drawn = np.array(scores[name][2:])
        print(
            f"{name:<13} full {scores[name][0]:.2f} %  empty {scores[name][1]:.2f} %  {len(drawn)} random: mean "
            f"{drawn.mean():.2f} %, deviation {drawn.std(ddof=1):.2f}, from {drawn.min():.2f} to {drawn.max():.2f}"
        )
    images = job.task.count_validation_images()
    error = float(np.sqrt(np.mean(scores["re-estimated"]) * (100 - np.mean(scores["re-estimated"])) / images))
    print(f"standard error of one score on {images} validation images: {error:.2f}")
    path = write_record(
        arguments.output,
        kind="batch-norm",
        settings={
            "recipe": recipe.to_dict(),
            "data": dict(job.task.dataset().fingerprint),
            "validation_images": images,
            "reestimation_images": arguments.images,
            "seed": 0,
            "supernet_sha256": sha256_of(arguments.supernet),
        },
        metrics={"schemes": [scheme.text for scheme in schemes], "accuracy": scores, "standard_error": error},
    )
    print(f"record: {path}")


if __name__ == "__main__":
    main()
