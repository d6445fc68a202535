"""`--data-root FOLDER` without a recipe: the folder's images are looked at, parted, and a recipe is chosen for them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from classification.arguments import recipe_of_own_images
from classification.own_images import pretrained_hint, recipe_name, write_recipe
from classification.recipe import Recipe
from classification.recommend import Facts, as_text, batch_size, choose_network, recommend
from classification.task import ClassificationTask
from ean_core.data import load_data, search_split
from ean_core.data.split import class_share
from ean_core.networks.network_file import load_network
from ean_core.training.work_dir import first_difference
from ean_core.utils.errors import EANError
from tests.conftest import ROOT, Run

MakeImages = Callable[..., Path]


@pytest.fixture
def images(tmp_path: Path) -> MakeImages:
    """`images({"cat": 12, "dog": 8}, side=20)` writes a folder per class with noise in one colour channel."""

    def make(counts: dict[str, int], *, side: int = 20, root: Path | None = None) -> Path:
        root = root or tmp_path / "my images"
        rng = np.random.default_rng(zlib.crc32(root.name.encode()))  # the parts of a folder hold other images
        for label, (name, count) in enumerate(counts.items()):
            (root / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (side + number % 3, side + 5, 3), dtype=np.uint8)
                pixels[..., label % 3] += 120
                Image.fromarray(pixels).save(root / name / f"{number}.{'png' if number % 2 else 'JPG'}")
        return root

    return make


def test_the_command_from_a_bare_folder_to_checkpoints(run_here: Run, images: MakeImages, tmp_path: Path) -> None:
    root = images({"cat": 12, "dog": 8, "owl": 10})
    (root / "readme.txt").write_text("no image")
    (root / "cat" / "notes.md").write_text("no image")
    short = ("supernet.epochs=1", "train.epochs=1", "search.steps=2", "retrain=['org']")
    done = run_here("tools/search.py", "--data-root", "my images", "--cfg-options", *short)
    for sentence in (
        "3 classes, 30 images: cat 12, dog 8, owl 10",
        "sizes from 25x20 to 25x22, median shorter side 21",
        "recipe for 24 training images on ",
        "resnet20 with se, crop 32, batch 8, 1 epoch",
        "split: 6 images to test on (20 % of each class), 5 to score schemes on (20 % of the others of each class), ",
        "and 19 to train on; the same in every run",
        "scheme found",
    ):
        assert sentence in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    work = tmp_path / "work_dirs" / "my_images"
    split = json.loads((work / "split.json").read_text())
    every = sorted(f"{path.parent.name}/{path.name}" for path in root.glob("*/*") if path.suffix != ".md")
    assert sorted(split["train"] + split["val"] + split["test"]) == every
    assert [sum(name.startswith(which) for name in split["test"]) for which in ("cat", "dog", "owl")] == [2, 2, 2]
    assert [sum(name.startswith(which) for name in split["val"]) for which in ("cat", "dog", "owl")] == [2, 1, 2]
    recipe = Recipe.from_file(work / "recipe.py")
    assert recipe.name == "my_images"
    assert (recipe.train.epochs, recipe.search.steps, recipe.data.val_fraction) == (1, 2, 0.2)
    assert load_network(work / "org-seed0/classifier.pth")[1]["classes"] == ["cat", "dog", "owl"]
    with pytest.raises(
        EANError, match="recipe.py belongs to an earlier run with other images or options: resume it with --resume"
    ):
        write_recipe(root, work, {})


def test_few_photos_are_told_of_imagenet_weights() -> None:
    facts = Facts(train_images=24, smallest_class=12, side=375, device="cpu", processors=2)
    _, line = pretrained_hint(facts, Path("my photos"))
    command = shlex.split(line.partition("python ")[2])
    assert (ROOT / command[1]).is_file()
    assert command[2:] == ["--data-root", "my photos"]
    assert pretrained_hint(replace(facts, train_images=100_000), Path("p")) == []
    assert pretrained_hint(replace(facts, side=32), Path("p")) == [], "they are of larger images"


def test_the_split_is_the_same_every_time_and_stratified(images: MakeImages, tmp_path: Path) -> None:
    root = images({"a": 40, "b": 10})
    first, second = load_data("folder", root), load_data("folder", root)
    assert first.train.paths == second.train.paths
    assert first.test.paths == second.test.paths
    assert first.test.labels.bincount().tolist() == [8, 2]
    labels = first.train.labels
    train, val = search_split(labels, fraction=0.25, seed=3)
    assert torch.equal(val, search_split(labels, fraction=0.25, seed=3)[1])
    assert not torch.equal(val, search_split(labels, fraction=0.25, seed=4)[1])
    assert labels[val].bincount().tolist() == [8, 2]
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(40))
    assert class_share(torch.tensor([0] * 9 + [1]), 0.3, seed=0).numel() == 4  # at least one of each
    with pytest.raises(EANError, match="class 1 has 1 images and fraction=0.3 leaves none"):
        search_split(torch.tensor([0] * 9 + [1]), fraction=0.3)
    with pytest.raises(EANError, match="fraction is 1.5"):
        class_share(labels, 1.5, seed=0)


def test_images_that_were_exchanged_are_other_data(tmp_path: Path) -> None:
    """Their names and sizes are the same."""
    for number, name in enumerate(("cat/0", "cat/1", "dog/0", "dog/1")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (80, 80), (number, 0, 0)).save(tmp_path / f"{name}.ppm")
    recipe = Recipe.from_values(recommend(Facts(24, 8, 21, "cpu", 2), name="r"), where="")
    before, again = (ClassificationTask(recipe, load_data("folder", tmp_path)).dataset().fingerprint for _ in "ab")
    assert before == again
    (tmp_path / "cat/0.ppm").rename(tmp_path / "kept")
    (tmp_path / "dog/0.ppm").rename(tmp_path / "cat/0.ppm")
    (tmp_path / "kept").rename(tmp_path / "dog/0.ppm")
    after = ClassificationTask(recipe, load_data("folder", tmp_path)).dataset().fingerprint
    assert after["fingerprint"] == before["fingerprint"]
    assert first_difference(before, after) == ("content", before["content"], after["content"])


def test_copies_between_the_parts_are_refused(images: MakeImages, run_here: Run, tmp_path: Path) -> None:
    root = images({"a": 6, "b": 6}, root=tmp_path / "mine")
    for path in list(root.glob("*/*")):
        shutil.copy(path, path.with_stem(f"{path.stem}_copy"))
    done = run_here("tools/search.py", "--data-root", root, "--no-retrain", code=2)
    assert re.search(r"\d of the 4 test images are copies of training images", done.stderr)
    assert not (tmp_path / "work_dirs").exists()


def test_val_and_test_are_used_as_such(images: MakeImages, run_here: Run, tmp_path: Path) -> None:
    root = tmp_path / "parted"
    for part, count in (("train", 8), ("val", 3), ("test", 4)):
        images({"a": count, "b": count}, root=root / part)
    (root / "train" / "a" / "film.gif").write_bytes(b"x")
    options = ("supernet.epochs=1", "search.steps=1")
    done = run_here("tools/search.py", "--data-root", root, "--no-retrain", "--cfg-options", *options)
    assert "split: 8 images to test on (given), 6 to score schemes on (given), and 16 to train on" in done.stdout
    assert "skipped 1 file: 1 .gif (not a supported image format)" in done.stdout
    split = json.loads((tmp_path / "work_dirs/parted/split.json").read_text())
    for part in ("train", "val", "test"):
        assert {name.split("/")[0] for name in split[part]} == {part}


def test_train_and_val_folders_are_taken_as_they_are(images: MakeImages, tmp_path: Path) -> None:
    root = tmp_path / "parted"
    images({"a": 10, "b": 10}, root=root / "train")
    images({"a": 3, "b": 4}, root=root / "validation")
    data = load_data("folder", root)
    assert (len(data.train), len(data.test)) == (20, 7)
    assert data.note == ""
    said = "\n".join(write_recipe(root, tmp_path / "w", {"train.epochs": 7, "model.arch": "resnet56"}))
    assert "2 classes, 27 images: a 13, b 14" in said
    assert "resnet56 with se, crop 32, batch 8, 7 epochs" in said
    assert Recipe.from_file(tmp_path / "w" / "recipe.py").model.arch == "resnet56"


def test_a_dry_run_names_no_recipe_that_is_gone_afterwards(
    images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    root = images({"a": 10, "b": 10})
    for kept in (False, True):
        path = recipe_of_own_images(root, tmp_path / "w", {}, resume=False, kept=kept)
        said = capsys.readouterr().out
        assert "replace any field with --cfg-options" in said
        assert (f"written to {path}" in said) == kept


def test_wrong_folders_get_a_sentence(images: MakeImages, tmp_path: Path) -> None:
    def sentence(root: Path) -> str:
        with pytest.raises(EANError) as caught:
            write_recipe(root, tmp_path / "w", {})
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "w").exists()
        return str(caught.value)

    assert "no folder" in sentence(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no class folders in" in sentence(empty)
    root = images({"cat": 8, "dog": 8})
    assert "but 8 image files: expected root/<class>/<image files>" in sentence(root / "cat")
    outer = tmp_path / "outer"
    shutil.copytree(root, outer / "Training")
    assert "no image files in" in sentence(outer)
    assert "but folders (cat, dog, ..)" in sentence(outer)
    assert "has one class folder, 'cat'" in sentence(images({"cat": 8}, root=tmp_path / "one"))
    assert "class 'dog' has 4 images: give every class at least 5" in sentence(
        images({"cat": 8, "dog": 4}, root=tmp_path / "few")
    )
    parted = tmp_path / "parted"
    images({"cat": 1, "dog": 3}, root=parted / "train")
    images({"cat": 9, "dog": 3}, root=parted / "val")
    assert "class 'cat' has 1 image in the training folder: give every class at least 2 there" in sentence(parted)
    (root / "cat" / "0.JPG").write_bytes(b"")
    assert "1 image file with 0 bytes, the first is" in sentence(root)
    (root / "cat" / "0.JPG").write_bytes(b"this is text")
    cut = root / "dog" / "1.png"
    cut.write_bytes(cut.read_bytes()[:-60])
    message = sentence(root)
    assert "2 of 16 images cannot be decoded, the first is" in message
    assert "0.JPG" in message


def test_wrong_options_write_nothing(images: MakeImages, tmp_path: Path) -> None:
    root = images({"cat": 8, "dog": 8})
    with pytest.raises(EANError, match="unknown field 'epoch' in .*the recipe chosen for your images.*'epochs'"):
        write_recipe(root, tmp_path / "w", {"train.epoch": 3})
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], r"the scheme 0101 fits none of the networks that may be chosen for your images \(resnet20 with 3\+3\+3"),
        (["--cfg-options", "model.arch=resnet20"], "the scheme has 4 bits but the network needs 9"),
    ],
)
def test_a_scheme_of_wrong_length_is_refused_before_an_image_is_read(
    run_here: Run, images: MakeImages, options: list[str], sentence: str
) -> None:
    (images({"cat": 8, "dog": 8}) / "cat" / "0.JPG").write_bytes(b"damaged")
    done = run_here("tools/train_cls.py", "--data-root", "my images", "--scheme", "org", "0101", *options, code=2)
    assert re.search(sentence, done.stderr)


def test_a_mistake_behind_the_recipe_is_mended_by_the_next_command(
    images: MakeImages, run_here: Run, tmp_path: Path
) -> None:
    root, work = images({"a": 8, "b": 8}), tmp_path / "work_dirs" / "my_images"
    command = ("tools/search.py", "--data-root", root, "--no-retrain", "--cfg-options", "supernet.epochs=1")
    assert "unknown attention 'see'" in run_here(*command, "model.attention=see", code=2).stderr
    wrong = (work / "recipe.py").read_text()
    run_here(*command, "search.steps=1")
    assert "attention='se'" in (work / "recipe.py").read_text()
    assert (work / "recipe_2.py").read_text() == wrong
    assert (work / "scheme.json").exists()
    assert "recipe.py belongs to an earlier run" in run_here(*command, "search.steps=2", code=2).stderr


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("side", [8, 32, 64, 128, 500])
@pytest.mark.parametrize("images_", [20, 3000, 1_000_000])
def test_every_recommendation_is_a_recipe(device: str, side: int, images_: int, tmp_path: Path) -> None:
    values = recommend(Facts(images_, 10, side, device, 2), name="x")
    (tmp_path / "recipe.py").write_text(as_text(values, comment="made up"))
    recipe = Recipe.from_file(tmp_path / "recipe.py")
    assert recipe == Recipe.from_values(values, where="here")
    assert 10 <= recipe.train.epochs <= 100
    assert recipe.train.batch_size <= max(8, images_ / 10)
    assert recipe.train.precision == ("bfloat16" if device == "cuda" else "float32")
    small = device == "cuda" and recipe.data.image_size <= 64
    assert (recipe.train.channels_last, recipe.train.cuda_graph) == (True, small)
    assert recipe.search.batch_size == (2000 if small else 250)


def test_an_older_gpu_gets_what_it_is_fast_at() -> None:
    train = recommend(Facts(1000, 10, 32, "cuda", 2, bfloat16=False), name="x")["train"]
    assert (train["precision"], train["channels_last"], train["cuda_graph"]) == ("float32", False, True)


def test_small_images_get_small_crops_and_a_gpu_larger_networks() -> None:
    assert choose_network(28, "cpu", many=False)[:2] == ("resnet20", 32)
    assert choose_network(500, "cpu", many=True)[:2] == ("resnet18_nobias", 96)
    assert choose_network(500, "cuda", many=True)[:2] == ("resnet50_nobias", 224)
    assert choose_network(500, "cuda", many=False)[:2] == ("resnet18_nobias", 224)
    assert [batch_size(count, largest=128) for count in (20, 160, 5000)] == [8, 16, 128]
    epochs = [recommend(Facts(count, 9, 32, "cpu", 2), name="x")["train"]["epochs"] for count in (100, 5000, 10**6)]
    assert epochs == [100, 40, 10]


def test_the_name_is_the_folders() -> None:
    assert recipe_name("data/My Images (2)") == "My_Images_2_"
    assert recipe_name("/") == "images"
