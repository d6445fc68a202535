"""Train a small segmentor on made-up shapes, then use it: segment, and draw where a class is found.

python examples/segment.py                     about two minutes on one core, everything in work_dirs/example_segment
python examples/segment.py --iterations 60 --target square
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ean_core.cli import at_least
from ean_core.data.read_image import read_image
from ean_core.inference.explain.gallery import explain
from ean_core.inference.loaded_model import load_file
from ean_core.utils.errors import command
from segmentation.inference import Segmentor, predict
from segmentation.job import Job

CONFIG = Path(__file__).parents[1] / "segmentation" / "configs" / "ean_se_demo.py"


@command
def main() -> None:
    """Draw shapes, train, segment, explain."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=at_least(1), default=300, metavar="N", help="default 300")
    parser.add_argument("--target", help="background, circle, square or triangle (default what covers most)")
    parser.add_argument("--out-dir", type=Path, default=Path("work_dirs/example_segment"), metavar="DIR")
    arguments = parser.parse_args()
    out = arguments.out_dir

    options = {"train_cfg.max_iters": arguments.iterations, "train_cfg.val_interval": arguments.iterations}
    job = Job.prepare(CONFIG, options=options, data_root=str(out / "data"), directory=out / "run", resume=True)
    job.run()

    state = out / "run" / "last.pth"
    photos = sorted((out / "data" / "voc_demo" / "JPEGImages").glob("shape_9*.jpg"))[:3]
    for photo, shares in predict(Segmentor(CONFIG, state), photos, out):
        print(f"{photo.name}: {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}")
    named = [(photo.name, read_image(photo), None) for photo in photos]
    print("written:", explain([load_file(state, config=CONFIG)], named, out / "seen.png", target=arguments.target).path)


if __name__ == "__main__":
    main()
