"""How the files beside this script were made: with the code of version 0.1 (commit 4d19832), by its own commands.

    git worktree add ../version_0_1 4d19832 && cd ../version_0_1
    PYTHONPATH=$PWD python REPOSITORY/tests/files_of_version_0_1/make.py NEW_FOLDER

Later code would write the files of its own version, so that the test over them would show nothing. An interrupted run
is one that was killed before one of its training steps. `expected.json` says what version 0.1 found in the files, and
how it ended the interrupted runs. Copy the archives and `expected.json` from the new folder to this one.

    classification.tar.xz   a finished search and a comparison of methods on it, an exported .safetensors, a run killed
                            in the supernet's last epoch, and the same killed in the last retraining
    counting.tar.xz         a counter trained and tested, one killed in its last epoch, and their images
    segmentation.tar.xz     a segmentor's records, a run killed before its last step, and its images
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sys
import tarfile
from pathlib import Path
from unittest.mock import patch

os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
HERE, ROOT = Path(__file__).resolve().parent, Path.cwd()
sys.path[:0] = [str(HERE), str(ROOT)]

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from architecture import tiny  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from outcomes import classification_outcome, counting_outcome, counts, segmentation_outcome  # noqa: E402
from PIL import Image  # noqa: E402

from ean_core.networks import ARCHITECTURES  # noqa: E402

CLASSIFY = ("tools/search.py", "tiny.py")
COUNT = ("crowd_counting/train.py", "counting.py", "--annotations", "data/crowd/points.csv")
SEGMENT = ("tools/train.py", str(ROOT / "segmentation/configs/ean_se_voc_small.py"))
SEGMENT += ("--cfg-options", *(HERE / "segmentation_options.txt").read_text().split())
DATA = {"classification": (), "counting": ("data/crowd",), "segmentation": ("data/VOCdevkit",)}
"""Folders that go into a task's archive with its runs."""


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def run(script: str, *arguments: str, before_step: int | None = None) -> None:
    """A command in this process, killed before its training step of that number, if one is given."""
    steps, update = [], OptimWrapper.update_params

    def counted(self: OptimWrapper, *args: object, **kwargs: object) -> None:
        steps.append(1)
        if len(steps) == before_step:
            raise Killed
        update(self, *args, **kwargs)

    with patch.object(sys, "argv", [script, *arguments]), patch.object(OptimWrapper, "update_params", counted):
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except Killed:
            assert before_step is not None
            return
        except SystemExit as stop:
            if stop.code:
                raise
    assert before_step is None, f"only {len(steps)} steps"


def draw_data() -> None:
    """A few images of coarse squares for the counter, and Pascal VOC's layout with boxes of persons."""
    rng = np.random.default_rng(0)
    crowd, lines = Path("data/crowd"), ["part,image,x,y"]
    crowd.mkdir(parents=True)
    for number in range(7):
        pixels = cv2.resize(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8), (56, 48), interpolation=cv2.INTER_NEAREST)
        Image.fromarray(pixels).save(crowd / f"{number}.png")
        part = "test" if number > 4 else "train"
        lines += [f"{part},{number}.png,{x:.1f},{y:.1f}" for x, y in rng.uniform(0, 47, (3 + number, 2))]
    (crowd / "points.csv").write_text("\n".join(lines) + "\n")
    voc = Path("data/VOCdevkit/VOC2012")
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (voc / folder).mkdir(parents=True)
    for part, numbers in (("train", range(1, 5)), ("val", range(5, 7))):
        (voc / f"ImageSets/Segmentation/{part}.txt").write_text("".join(f"2007_{n:06d}\n" for n in numbers))
        for number in numbers:
            labels = np.zeros((36, 45), np.uint8)
            top, left = int(rng.integers(0, 16)), int(rng.integers(0, 25))
            labels[top : top + 18, left : left + 18] = 255
            labels[top + 1 : top + 17, left + 1 : left + 17] = 15
            pixels = (60 + 100 * (labels == 15) + rng.integers(0, 20, labels.shape)).astype(np.uint8)
            Image.fromarray(np.stack([pixels] * 3, axis=2)).save(voc / f"JPEGImages/2007_{number:06d}.jpg")
            Image.fromarray(labels).save(voc / f"SegmentationClass/2007_{number:06d}.png")


def keep(source: str, target: str) -> None:
    """Copy what a run reads again or a user keeps; not its logs and pictures."""
    for file in sorted(Path(source).rglob("*")):
        suffixes = (".json", ".jsonl", ".pth", ".safetensors", ".csv")
        logs = any(part.startswith("20") for part in file.relative_to(source).parts)
        if file.suffix in suffixes and not logs:
            (Path(target) / file.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, Path(target) / file.relative_to(source))


def classification() -> None:
    """A finished run, and one killed in the supernet's last epoch and in the last retraining."""
    run(*CLASSIFY, "--work-dir", "made/whole")
    (found,) = Path("made/whole").glob("ean-*-seed0")
    run("tools/test.py", "tiny.py", str(found / "classifier.pth"))
    run("tools/export.py", str(found / "classifier.pth"), "--to", "safetensors", "--output-dir", "classification")
    for state in Path("made/whole").rglob("last.pth"):
        state.unlink()
    keep("made/whole", "classification/finished")
    run(*CLASSIFY, "--work-dir", "made/cut", before_step=13)
    keep("made/cut", "classification/interrupted_supernet")
    run(*CLASSIFY, "--work-dir", "made/cut", "--resume", before_step=2 + 24 + 20)
    for state in Path("made/cut").rglob("last.pth"):
        if not state.parent.name.startswith("ean-"):
            state.unlink()
    keep("made/cut", "classification/interrupted_retraining")
    run(*CLASSIFY, "--work-dir", "made/cut", "--resume")
    comparison = ("--methods", "random,ean", "--seeds", "1", "--evaluations", "5", "--proposals", "8", "--samples", "0")
    run(*CLASSIFY, "--work-dir", "made/whole", "--resume", *comparison, "--no-exhaustive")
    keep("made/whole/comparison", "classification/comparison")


def counting() -> None:
    """A finished run, and one killed in its last epoch."""
    run(*COUNT, "--work-dir", "made/counting")
    Path("made/counting/seed0/last.pth").unlink()
    keep("made/counting", "counting/finished")
    run("crowd_counting/test.py", "made/counting/seed0", *COUNT[2:], "--out-dir", "counting/test")
    run(*COUNT, "--work-dir", "made/counting_cut", before_step=6)
    keep("made/counting_cut", "counting/interrupted")
    run(*COUNT, "--work-dir", "made/counting_cut", "--resume")


def segmentation() -> None:
    """A run killed before its last step, and a finished one's records."""
    run(*SEGMENT, "--work-dir", "made/segmentation_cut")
    Path("segmentation/finished").mkdir(parents=True)
    shutil.copy("made/segmentation_cut/result.json", "segmentation/finished")
    test = ("made/segmentation_cut/last.pth", "--out-dir", "segmentation/finished")
    run("tools/test.py", SEGMENT[1], *test, *SEGMENT[2:])
    shutil.rmtree("made/segmentation_cut")
    run(*SEGMENT, "--work-dir", "made/segmentation_cut", before_step=4)
    keep("made/segmentation_cut", "segmentation/interrupted")
    run(*SEGMENT, "--work-dir", "made/segmentation_cut", "--resume")


def main() -> None:
    """Everything into a new folder."""
    target = Path(sys.argv[1]).resolve()
    target.mkdir(parents=True)
    os.chdir(target)
    for name in ("tiny.py", "counting.py"):
        shutil.copy(HERE / name, target)
    torch.set_num_threads(1)
    ARCHITECTURES["tiny"] = tiny()
    draw_data()
    classification()
    counting()
    segmentation()
    expected = {
        "classification": classification_outcome(Path("made/cut")),
        "counting": {
            **counting_outcome(Path("made/counting_cut")),
            "counts": {name: counts(Path(f"counting/test/{name}_images.csv")) for name in ("best", "final")},
        },
        "segmentation": segmentation_outcome(Path("made/segmentation_cut")),
    }
    Path("expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    for task in ("classification", "counting", "segmentation"):
        with tarfile.open(f"{task}.tar.xz", "w:xz", preset=9) as archive:
            for folder in (task, *DATA[task]):
                archive.add(folder)


if __name__ == "__main__":
    main()
