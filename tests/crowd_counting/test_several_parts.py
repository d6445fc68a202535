"""Parts that are trained on together, and photos without people among them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from crowd_counting.data.density_cache import DensityCache, write_cache
from crowd_counting.data.holdout import hold_out, load_split, save_split
from crowd_counting.data.load import load_crowd
from crowd_counting.density import render_density
from crowd_counting.evaluation import score_file
from crowd_counting.hooks import KeepBest
from crowd_counting.metrics import ImageErrors
from crowd_counting.model.training_model import CountingModel, evaluate
from crowd_counting.recipe import DataRecipe
from ean_core.io.records import read_record
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError
from tests.crowd_counting.conftest import TINY, random_points, write_pair
from tests.crowd_counting.test_task import SEARCH, make_job, random_supernet
from tests.helpers.quick_runs import quick_runs  # noqa: F401


@pytest.fixture
def both(crowd_root: Path) -> Path:
    """Part A, and part B with fewer heads: 5 training and 2 test images, of the same names as A's."""
    for folder, count, size in (("train_data", 5, (48, 56)), ("test_data", 2, (56, 48))):
        for number in range(1, count + 1):
            points = random_points(number % 3, size, seed=number)
            write_pair(crowd_root / "part_B" / folder, number, points, size=size)
    return crowd_root


def photos(folder: Path, *, count: int, seed: int) -> Path:
    """A folder of photos without people."""
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng([seed, number]).integers(0, 256, (40, 40 + number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"IMG_{number}.png")
    return folder


def test_images_of_the_same_name_stay_apart(both: Path, tmp_path: Path) -> None:
    data = load_crowd(parts=["A", "B"], data_root=str(both))
    assert data.name == "part_A+part_B"
    assert [image.name for image in data.test] == [f"part_A/IMG_{n}" for n in (1, 2, 3)] + [
        "part_B/IMG_1",
        "part_B/IMG_2",
    ]
    assert {image.part for image in data.train} == {"part_A", "part_B"}
    assert data.note.count("partial: ") == 2
    write_cache(tmp_path / "maps.h5", data, kernel="fixed:4", stride=8)
    cache = DensityCache(tmp_path / "maps.h5", data, kernel="fixed:4", stride=8)
    for image in (data.train[0], data.train[8]):
        assert image.name.endswith("/IMG_1")
        assert np.array_equal(cache[image.name], render_density(image.points, image.size, 8, "fixed:4").numpy())


def test_a_share_of_each_part_is_held_out_as_of_that_part_alone(both: Path, tmp_path: Path) -> None:
    data = load_crowd(parts=["A", "B"], data_root=str(both))
    split = hold_out(data.train, seed=3, share=0.4)
    alone = {part: load_crowd(parts=[part], data_root=str(both)) for part in "AB"}
    expected = [
        f"part_{part}/{image.name}" for part in "AB" for image in hold_out(alone[part].train, seed=3, share=0.4)[1]
    ]
    assert [image.name for image in split[1]] == expected
    save_split(tmp_path / "split.json", data, split, seed=3)
    assert load_split(tmp_path / "split.json", data) == split
    content = json.loads((tmp_path / "split.json").read_text())
    content["val"] = [name for name in content["val"] if "part_A" in name]
    content["train"] = [image.name for image in data.train if image.name not in content["val"]]
    (tmp_path / "split.json").write_text(json.dumps(content))
    with pytest.raises(EANError, match="has no image of part_B in val: both need images of every part"):
        load_split(tmp_path / "split.json", data)


def test_the_fingerprint_covers_every_part_and_photo(both: Path, tmp_path: Path) -> None:
    nobody = photos(tmp_path / "nobody", count=2, seed=0)

    def digits() -> tuple:
        data = load_crowd(parts=["A", "B"], data_root=str(both), empty=str(nobody))
        return data.fingerprint(), data.content, data.empty_scenes

    before = digits()
    assert before[2]["images"] == 2
    Image.new("RGB", (41, 40)).save(nobody / "IMG_1.png")
    after = digits()
    assert after[0] == before[0]  # names, sizes and points
    assert after[1:] != before[1:]
    write_pair(both / "part_B" / "train_data", 2, random_points(9, (48, 56)), size=(48, 56))
    assert digits()[0] != before[0]


def test_a_recipe_names_one_part_or_several() -> None:
    assert DataRecipe(part="A").parts == ("A",)
    assert DataRecipe(part=("A", "B")).parts == ("A", "B")
    assert DataRecipe().parts == ()


def test_the_best_has_the_lowest_relative_error_of_the_parts(tmp_path: Path) -> None:
    saved: list[int] = []
    files = {"history": tmp_path / "validation.json", "best": tmp_path / "best.pth"}
    hook = KeepBest(**files, every=1, save=lambda epoch, metrics: saved.append(epoch))
    for epoch, (dense, relative) in enumerate([(90.0, 0.3), (80.0, 0.4), (95.0, 0.2)], start=1):
        metrics = {"part_A/mae": dense, "part_B/mae": 1.0, "relative_error": relative}
        hook.after_val_epoch(SimpleNamespace(epoch=epoch), metrics)
    assert saved == [1, 3]
    (tmp_path / "validation.json").write_text('[{"epoch": 1, "part_A/mae": 90.0}]')
    with pytest.raises(EANError, match="is damaged"):
        hook.entries()


def test_parts_are_trained_on_together_and_tested_one_by_one(
    both: Path, tmp_path: Path, script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    nobody, others = photos(tmp_path / "nobody", count=4, seed=0), photos(tmp_path / "others", count=3, seed=1)
    data = ("--data-root", both, "--part", "A", "B")
    run = ("train", *data, "--empty", nobody, *TINY, "train.loss=poisson")
    assert script(*run) == 0
    out = capsys.readouterr().out
    assert "14 training, 3 validation and 5 test images (4 of the first two without people)" in out
    assert "epoch 1: validation part_A MAE " in out
    for line in ("best on validation, part_A", "last epoch, part_B", "The counter's error on part_A", " on part_B "):
        assert line in out, line
    work = tmp_path / "work_dirs/crowd_counting/part_A+part_B+empty-none-poisson"
    first, *_ = json.loads((work / "seed0/validation.json").read_text())
    assert {"part_A/mae", "part_B/rmse", "empty/mae", "relative_error"} <= set(first)
    assert "mae" not in first  # no figure that hides the parts
    settings = read_record(work / "summary.json")["settings"]["data"]
    assert settings["empty"]["images"] == 4
    assert sorted(name.partition("/")[0] for name in settings["val"]) == ["empty", "part_A", "part_B"]
    best = read_record(work / "summary.json")["metrics"]["best"]
    assert set(best) == {"part_A", "part_B"}
    result = read_record(work / "seed0/result.json")["metrics"]["best"]
    assert {part: len(errors) for part, errors in result["per_image"].items()} == {"part_A": 3, "part_B": 2}

    assert script("test", work / "seed0", *data, "--empty", others, "--out-dir", tmp_path / "tested") == 0
    out = capsys.readouterr().out
    assert "in 3 photos without any" in out
    assert "best, part_B: errors by the true count" in out
    record = read_record(tmp_path / "tested/test.json")
    tested = record["metrics"]["best"]
    rows = list(csv.DictReader((tmp_path / "tested/best_images.csv").read_text().splitlines()))
    counts = {row["image"]: float(row["estimated"]) for row in rows}
    assert len(counts) == 8
    for part in ("part_A", "part_B"):
        assert tested[part]["mae"] == pytest.approx(best[part]["mae"]["mean"])
        assert sum(row["images"] for row in tested[part]["by_count"]) == tested[part]["images"]
    empty = [count for name, count in counts.items() if name.startswith("empty/")]
    assert tested["empty"]["mean"] == pytest.approx(np.mean(empty), abs=0.001)
    assert tested["empty"]["largest"] == pytest.approx(max(empty), abs=0.001)
    assert script("test", work / "seed0", *data, "--out-dir", tmp_path / "tested") == 2  # not over those with photos
    capsys.readouterr()
    assert script("test", work / "seed0/best.pth", *data, "--empty", nobody, "--out-dir", tmp_path / "seen") == 0
    assert "warning: best was trained on these 4 photos without people" in capsys.readouterr().out
    assert script(*run, "--resume") == 0
    write_pair(both / "part_B" / "train_data", 2, random_points(9, (48, 56)), size=(48, 56))
    assert script(*run, "--resume") == 2
    assert "data.fingerprint" in capsys.readouterr().err


def relative_error_slowly(rows: Sequence[ImageErrors]) -> float:
    """The mean over the parts of MAE / mean count; photos of nobody have the mean of the other parts' mean counts."""
    errors, counts = {}, {}
    for part in {row.part for row in rows}:
        group = [row for row in rows if row.part == part]
        errors[part] = sum(abs(row.estimated - row.annotated) for row in group) / len(group)
        counts[part] = sum(row.annotated for row in group) / len(group)
    usual = [count for count in counts.values() if count]
    total = sum(errors[part] / (counts[part] or sum(usual) / len(usual)) for part in errors)
    return total / len(errors)


def test_a_scheme_of_several_parts_is_scored_by_the_mean_over_them(both: Path, tmp_path: Path) -> None:
    nobody = photos(tmp_path / "nobody", count=4, seed=0)
    data = load_crowd(parts=["A", "B"], data_root=str(both), empty=str(nobody))
    task = make_job(data, tmp_path / "run").task
    supernet, val = random_supernet(task), task.counting.split[1]
    assert {image.part for image in val} == {"part_A", "part_B", "empty"}
    schemes = [Scheme.parse(bits, blocks=(3, 3, 3)) for bits in ("101011100", "101000001", "0" * 9)]

    def slowly(scheme: Scheme) -> float:
        supernet.set_scheme(scheme)
        rows = evaluate(CountingModel(supernet, task.counting.normalize()), task.counting.val_loader())
        return 100 - 100 * relative_error_slowly(rows)

    wanted = [slowly(scheme) for scheme in schemes]
    assert len({round(value, 3) for value in wanted}) == 3
    assert task.make_scorer(supernet)(schemes) == pytest.approx(wanted, abs=1e-3)
    gradient = task.make_gradient(supernet, images=len(val), seed=0)
    loss, _ = gradient(np.array(schemes[0].bits, dtype=float), step=0)  # on all images: the score's complement
    assert 100 - 100 * loss == pytest.approx(wanted[0], abs=0.01)


def test_parts_are_searched_together_and_the_result_has_each(
    both: Path, tmp_path: Path, script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """A search, and the same again with --resume."""
    nobody = photos(tmp_path / "nobody", count=4, seed=0)
    options = [f"{name}={value}" for name, value in {**SEARCH, "search.steps": 1, "retrain": ["org"]}.items()]
    options += ["data.part=['A', 'B']", f"data.empty={nobody}"]
    run = ("../tools/search", "crowd_counting/configs/demo.py", "--data-root", both, "--work-dir", tmp_path / "run")
    assert script(*run, "--cfg-options", *options) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for head in ("test relative error %", "test MAE on part_A people", "test MAE on part_B people"):
        assert head in printed, head
    (row,) = first = read_record(tmp_path / "run/summary.json")["metrics"]
    data = load_crowd(parts=["A", "B"], data_root=str(both), empty=str(nobody))
    rows, _ = score_file(tmp_path / "run/org-seed0/best.pth", data.test)
    error = 100 * relative_error_slowly(rows)
    assert row["relative_error_percent"]["mean"] == pytest.approx(error)
    of_a = [abs(each.error) for each in rows if each.part == "part_A"]
    assert row["part_A/mae"]["mean"] == pytest.approx(np.mean(of_a))
    result = read_record(tmp_path / "run/org-seed0/result.json")["metrics"]
    assert np.mean(result["per_image"]) == pytest.approx(error)
    assert sum(entry["images"] for entry in result["by_count"]["part_B"]) == 2
    assert script(*run, "--resume", "--cfg-options", *options) == 0
    assert read_record(tmp_path / "run/summary.json")["metrics"] == first


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--part", "A", "A"], "part A is given twice: give each part once"),
        (["train", "--part", "A", "C"], "unknown part 'C': choose one of A, B, demo"),
        (["train", "--part", "A", "--empty", "bare"], "no images in the folder bare"),
        (
            ["train", "--part", "A", "--empty", "nowhere"],
            "nowhere does not exist: give image files, or folders",
        ),
        (["test", "best.pth", "--part", "A", "--empty", "one/IMG_0.png"], "one/IMG_0.png is not a folder"),
        (["train", "--part", "A", "--empty", "one"], "cannot split 1 training image of empty into training and"),
        (["train", "--part", "A", "--empty", "mixed"], "mixed/a.jpg is the annotated image "),
        (["test", "best.pth", "--part", "A", "--empty", "mixed"], "mixed/a.jpg is the annotated image "),
    ],
)
def test_bad_input_is_one_sentence(
    both: Path,
    tmp_path: Path,
    script: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    (tmp_path / "bare").mkdir()
    photos(tmp_path / "one", count=1, seed=0)
    photos(tmp_path / "mixed", count=2, seed=0)
    shutil.copy(both / "part_A/test_data/images/IMG_2.jpg", tmp_path / "mixed/a.jpg")
    (tmp_path / "best.pth").write_bytes(b"")
    assert script(*arguments, "--data-root", both) == 2
    (message,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("usage: "))
    assert sentence in message
    assert not (tmp_path / "work_dirs").exists()
