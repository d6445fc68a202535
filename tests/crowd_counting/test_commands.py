"""The commands as a user calls them, on tiny data."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crowd_counting.train import parse_arguments, search_words
from ean_core.io.records import read_record
from tests.crowd_counting.conftest import TINY
from tests.helpers.ranks import torchrun

DEMO = "crowd_counting/configs/demo.py"
ELSEWHERE = ("--data-root", "nowhere", "--cfg-options", "data.part=A")


def test_prepare_train_test_predict(
    crowd_root: Path, tmp_path: Path, script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--part", "A", "--data-root", crowd_root)
    assert script("prepare", *data) == 0
    out = capsys.readouterr().out
    assert "partial: found 8 of 300 training images" in out
    prepared = tmp_path / "work_dirs/crowd_counting/part_A"
    assert len(json.loads((prepared / "split.json").read_text())["val"]) == 1
    assert (prepared / "density.h5").exists()

    options = (*TINY, f"data.cache={prepared / 'density.h5'}", f"data.split={prepared / 'split.json'}")
    work = tmp_path / "run"
    run = ("train", *data, "--attention", "se", "--scheme", "101010101", "--seeds", 0, 1, "--work-dir", work, *options)
    assert script(*run) == 0
    out = capsys.readouterr().out
    assert "random weights" in out
    assert re.search(r"seed 0, epoch 1: validation MAE \d+\.\d, RMSE \d+\.\d\n", out)  # heads, not percent
    assert re.search(r"checkpoint.*MAE.*RMSE \(papers: MSE\).*NAE.*GAME 1.*GAME 3", out)
    assert re.search(r"last epoch +\d+\.\d ± \d+\.\d", out)
    assert "always giving the training images' mean count (MAE " in out
    assert "Nothing can be said about attention yet" in out
    assert f"crowd_counting/test.py {work}/seed0 --part A --data-root {crowd_root}\n" in out
    summary = read_record(work / "summary.json")
    assert summary["kind"] == "counting"
    assert summary["metrics"]["best"]["mae"]["n"] == 2

    assert script("test", work, *data) == 2
    assert f"holds the runs of 2 seeds: give one of them, such as {work / 'seed0'}" in capsys.readouterr().err
    assert script("test", work / "seed0", *data) == 0
    assert "best" in capsys.readouterr().out
    record = read_record(work / "seed0" / "test.json")
    result = read_record(work / "seed0" / "result.json")["metrics"]
    tests = {name: result[name]["test"] for name in ("best", "final")}
    for name in ("best", "final"):  # the command gives what training gave
        by_count, trained = (one[name].pop("by_count") for one in (record["metrics"], tests))
        assert by_count[0] == pytest.approx(trained[0])
        assert [(row["low"], row["high"], row["images"]) for row in by_count] == [(1, 49, 3)]  # 2, 4 and 6 heads
        assert by_count[0]["mae"] == pytest.approx(record["metrics"][name]["mae"])
        assert record["metrics"][name] == pytest.approx(tests[name])
        table = list(csv.DictReader((work / "seed0" / f"{name}_images.csv").read_text().splitlines()))
        errors = [abs(float(row["error"])) for row in table]
        assert sum(errors) / 3 == pytest.approx(record["metrics"][name]["mae"], abs=0.01)
        assert errors == sorted(errors, reverse=True)

    images = crowd_root / "part_A" / "test_data" / "images"
    assert script("predict", work / "seed0" / "final.pth", images, "--out-dir", tmp_path / "counts") == 0
    counts = {entry["image"]: entry["count"] for entry in json.loads((tmp_path / "counts" / "counts.json").read_text())}
    for row in table:  # of final.pth: the same image, the same count in every command
        assert counts[f"{row['image']}.jpg"] == pytest.approx(float(row["estimated"]), abs=0.002)


def test_a_test_image_that_is_trained_on_is_warned_of_and_not_trained_on(
    crowd_root: Path, tmp_path: Path, script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    part = crowd_root / "part_A"
    for file in ("images/IMG_2.jpg", "ground-truth/GT_IMG_2.mat"):
        shutil.copy(part / "train_data" / file, part / "test_data" / file)
    says = "1 of the 3 test images are copies of training images (the first: part_A/test_data/images/IMG_2.jpg"
    assert script("prepare", "--part", "A", "--data-root", crowd_root, "--no-cache") == 0
    assert f"warning: {says}" in capsys.readouterr().out
    assert script("train", "--part", "A", "--data-root", crowd_root, "--work-dir", tmp_path / "run") == 2
    assert f"error: {says}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_annotation_file(crowd_root: Path, tmp_path: Path, script: Callable[..., int]) -> None:
    lines = ["part,image,x,y"]
    for number in range(1, 5):
        lines += [f"train,data/part_A/train_data/images/IMG_{number}.jpg,{x},9" for x in (3, 20, 31)]
    lines.append("test,data/part_A/test_data/images/IMG_1.jpg,,")
    (tmp_path / "points.csv").write_text("\n".join(lines))
    assert script("prepare", "--annotations", "points.csv") == 0
    assert script("train", "--annotations", "points.csv", *TINY) == 0
    record = read_record(tmp_path / "work_dirs/crowd_counting/points-none-mse/seed0/result.json")
    assert record["metrics"]["always_the_mean"]["mae"] == pytest.approx(3)  # of an image without heads


@pytest.mark.slow
def test_two_processes(crowd_root: Path, tmp_path: Path) -> None:
    """Under torchrun: validation is gathered over the processes, and one of them writes."""
    data = ("--part", "A", "--data-root", crowd_root)
    options = (*TINY, "data.val_share=0.4", "train.epochs=1", "--work-dir", "two")
    done = torchrun("crowd_counting/train.py", *data, *options, directory=tmp_path)
    assert done.stdout.count("always giving the training images' mean count") == 1
    (entry,) = json.loads((tmp_path / "two" / "seed0" / "validation.json").read_text())[:1]
    assert entry["images"] == 3


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("train", ["--part", "A", "--data-root", "nowhere"], "error: no folder part_A or part_A_final in nowhere"),
        ("train", [], "error: give either --part A, B or demo, or --annotations FILE"),
        ("train", ["--part", "A", "--loss", "mae"], "error: unknown loss 'mae'"),
        ("train", ["--seeds", "1", "1", "--part", "A"], "error: --seeds must be distinct, got [1, 1]"),
        ("train", ["--cfg-options", "data.crop", "--part", "A"], "error: --cfg-options takes NAME=VALUE"),
        ("train", ["none.py", "--part", "A"], "error: configuration none.py does not exist"),
        ("train", ["--annotations", "none.csv", "--attention", "se", "--scheme", "01"], "2 bits but the network needs"),
        ("test", ["none.pth", "--part", "A"], "error: none.pth does not exist"),
        ("predict", ["none.pth", "x.jpg", "--out-dir", "o"], "error: none.pth does not exist"),
        ("prepare", ["--part", "A", "--kernel", "box"], "error: kernel must be 'fixed:SIGMA'"),
        (
            "../tools/train_cls",
            [DEMO, "--scheme", "share-full", *ELSEWHERE],
            "no folder part_A or part_A_final in nowhere",
        ),
        ("prepare", ["--demo", "--part", "A"], "error: --demo draws part demo"),
        ("prepare", ["--part", "demo"], "draw it with crowd_counting/prepare.py --demo"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(
    crowd_root: Path,
    script: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    name: str,
    arguments: list[str],
    sentence: str,
) -> None:
    if name != "predict" and "--data-root" not in arguments:
        arguments = [*arguments, "--data-root", str(crowd_root)]
    assert script(name, *arguments) == 2
    (message,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("usage: "))
    assert sentence in message


def test_a_state_is_no_checkpoint(tmp_path: Path, crowd_root: Path, script: Callable[..., int], capsys) -> None:
    torch.save({"state_dict": {}, "meta": {}}, tmp_path / "last.pth")
    assert script("test", tmp_path / "last.pth", "--part", "A", "--data-root", crowd_root) == 2
    assert "not a counter: give a best.pth or final.pth" in capsys.readouterr().err


def test_the_hint_of_a_search_keeps_the_data_and_the_settings() -> None:
    given = "mine.py --annotations p.json --attention se --scheme 01 --lr 0.1 --cfg-options data.crop=32"
    arguments = parse_arguments(given.split())
    options = ["data.crop=32", "model.attention=se", "train.lr=0.1", "data.annotations=p.json"]
    assert search_words(arguments) == ["mine.py", "--cfg-options", *options]
    arguments = parse_arguments(["--part", "A", "B", "--data-root", "d"])
    assert search_words(arguments)[1:] == ["--data-root", "d", "--cfg-options", "data.part=['A', 'B']"]
