"""The README's commands run, on tiny data: each line of these sections as it stands there, with a few shortcuts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ean_core.io.records import read_record
from tests.conftest import ROOT, Script
from tests.helpers.quick_runs import quick_runs
from tests.helpers.tiny_files import tiny_arch, tiny_classifier
from tests.test_docs import commands_of
from tests.tools.test_trim import classifier

__all__ = ["quick_runs", "tiny_arch"]

SECTIONS = ("Your own", "Crowd counting and segmentation", "Look at it, use it, share it")
SHORT_CLASSIFYING = "--cfg-options train.epochs=1 supernet.epochs=1 search.steps=1 data.workers=0"
RUN = {
    "tools/search.py --data-root my_images": f"--attention gate.py:Gate --method own.py:Flips {SHORT_CLASSIFYING}",
    "crowd_counting/prepare.py --demo": "--no-cache",
    "crowd_counting/train.py --part demo": "--epochs 6",
    "crowd_counting/test.py RUN_DIRECTORY/seed0 --part demo": "",
    "crowd_counting/predict.py PHOTO.jpg --out-dir counted": "",
    "segmentation/predict.py STREET.jpg": "",
    "tools/gradcam.py PHOTOS --checkpoints org.pth share_full.pth ean.pth --masks": "",
    "tools/predict.py classifier.pth PHOTO.jpg FOLDER/ --topk 5 --json predictions.json": "",
    "tools/trim.py classifier.pth": "--max-drop 100 --rounds 2 --batch-size 2 --val-images 20",
}
"""Line of the README -> arguments that are added, so that it ends soon."""
PARSED_ONLY = {
    "tools/search.py --attention gate.py:Gate": "goes with --data-root my_images here",
    "tools/train_cls.py CONFIG --scheme org 100100100 FOUND/scheme.json --seeds 0 1 2": "tests/pipeline trains such",
    "crowd_counting/train.py crowd_counting/configs/shanghaitech_a_lite0.py --part A": "needs ShanghaiTech",
    "tools/train.py segmentation/configs/ean_se_demo.py": "tests/segmentation trains such",
    "segmentation/prepare.py --download": "2 GB",
    "tools/search.py crowd_counting/configs/demo.py": "tests/pipeline searches such",
    "tools/search.py segmentation/configs/ean_se_demo.py": "tests/pipeline searches such",
    "tools/export.py classifier.pth --to onnx torch safetensors --output-dir exported": "tests/tools exports such",
    "tools/benchmark.py --arch resnet164 --attention se --per-block": "minutes",
    "tools/demo.py org.pth share_full.pth ean.pth": "serves a page; tests/inference/demo opens it",
}
"""Line of the README that only `tests/test_docs.py` checks -> why."""


def section(title: str) -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.split(r"^## ", text.split(f"## {title}\n")[1], flags=re.MULTILINE)[0]


@pytest.fixture
def readme(script: Script, tmp_path: Path) -> Callable[..., None]:
    """`readme("tools/trim.py classifier.pth")` runs that line of the README; names in capitals may be replaced."""

    def run(line: str, **names: object) -> None:
        words = shlex.split(line) + shlex.split(RUN[line])
        for name, value in names.items():
            words = [word.replace(name, str(value)) for word in words]
        assert script(*words) == 0

    return run


def photo(path: Path, *, seed: int = 0, size: tuple[int, int] = (48, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def test_every_command_of_the_sections_is_run_or_has_a_reason() -> None:
    shown = {
        shlex.join(shlex.split(line.replace("..", ""), comments=True)).removeprefix("python ")
        for title in SECTIONS
        for line in commands_of(section(title))
    }
    assert shown == set(RUN) | set(PARSED_ONLY)


def test_own_images_are_searched(readme: Callable[..., None], tmp_path: Path) -> None:
    """With the attention of the README, and the search method of docs/search.md."""
    for name, page in (("gate.py", "README.md"), ("own.py", "docs/search.md")):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
        (tmp_path / name).write_text(blocks[-1], encoding="utf-8")
    for number in range(12):
        photo(tmp_path / "my_images" / ("bee" if number % 2 else "ant") / f"{number}.png", seed=number, size=(20, 20))
    readme("tools/search.py --data-root my_images")
    found = json.loads((tmp_path / "work_dirs/my_images/scheme.json").read_text())
    assert (found["attention"], found["method"]) == ("gate.py:Gate", "own.py:Flips")


def test_counting(readme: Callable[..., None], tmp_path: Path) -> None:
    """A short run on the drawn crowd is better than always giving the mean count."""
    readme("crowd_counting/prepare.py --demo")
    readme("crowd_counting/train.py --part demo")
    (run,) = (tmp_path / "work_dirs/crowd_counting").glob("part_demo-*")
    readme("crowd_counting/test.py RUN_DIRECTORY/seed0 --part demo", RUN_DIRECTORY=run)
    assert (run / "seed0/test.json").is_file()
    metrics = read_record(run / "seed0/result.json")["metrics"]
    assert metrics["best"]["test"]["mae"] < 0.7 * metrics["always_the_mean"]["mae"]


def test_what_comes_trained_counts_and_segments(readme: Callable[..., None], tmp_path: Path) -> None:
    for name in ("PHOTO.jpg", "STREET.jpg"):
        photo(tmp_path / name, size=(96, 64))
    readme("crowd_counting/predict.py PHOTO.jpg --out-dir counted")
    readme("segmentation/predict.py STREET.jpg")
    assert {path.name for path in tmp_path.glob("*/*.png")} == {
        "PHOTO_density.png",
        "STREET.png",
        "STREET_mask.png",
    }


def test_networks_are_looked_at_and_used(readme: Callable[..., None], tiny_arch: str, tmp_path: Path) -> None:
    for name in ("org", "share_full", "ean", "classifier"):
        tiny_classifier(tmp_path / f"{name}.pth", None if name == "org" else "se")
    for name in ("PHOTO.jpg", "PHOTOS/1.png", "FOLDER/2.png"):
        photo(tmp_path / name)
    readme("tools/gradcam.py PHOTOS --checkpoints org.pth share_full.pth ean.pth --masks")
    readme("tools/predict.py classifier.pth PHOTO.jpg FOLDER/ --topk 5 --json predictions.json")
    made = {path.name for path in tmp_path.iterdir()}
    assert {"gradcam.png", "gradcam_masks_ean.png", "predictions.json"} <= made


def test_a_classifier_is_trimmed(readme: Callable[..., None], tmp_path: Path) -> None:
    classifier(tmp_path)
    readme("tools/trim.py classifier.pth")
    assert (tmp_path / "trim_classifier/scheme.json").is_file()
