"""Class folders: ImageNet's layout and its variants, how parts are split off, and what is refused."""

from __future__ import annotations

import shutil
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from ean_core.data import load_data
from ean_core.utils.errors import EANError


def names(source) -> list[str]:
    return ["/".join(path.split("/")[-2:]) for path in source.paths]


def test_imagenet_layout(image_root):
    (image_root / "train" / "ant" / "notes.txt").write_text("no image")
    (image_root / "train" / ".hidden").mkdir()
    data = load_data("imagenet", image_root)
    assert data.classes == ("ant", "bee", "cat")
    assert data.image_shape == (3, 224, 224)
    assert (data.train.image_size, data.train.resize) == (224, 256)
    assert data.train.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert names(data.train)[:6] == [
        "ant/0.JPEG",
        "ant/2.JPEG",
        "ant/3.JPEG",
        "ant/4.JPEG",
        "ant/gray.png",
        "bee/0.JPEG",
    ]
    assert names(data.test) == [f"{name}/{file}" for name in data.classes for file in ("0.JPEG", "gray.png")]
    assert data.mean == (0.485, 0.456, 0.406)
    assert data.std == (0.229, 0.224, 0.225)


def test_test_stands_in_for_val_and_val_goes_first(image_root):
    shutil.copytree(image_root / "val", image_root / "test")
    (image_root / "test" / "ant" / "0.JPEG").unlink()
    assert len(load_data("imagenet", image_root).test) == 6
    shutil.rmtree(image_root / "val")
    assert len(load_data("imagenet", image_root).test) == 5


def test_image_size(image_root):
    data = load_data("folder", image_root, image_size=32)
    assert data.image_shape == (3, 32, 32)
    assert data.test.resize == 37
    with pytest.raises(EANError, match=r"image_size=0"):
        load_data("folder", image_root, image_size=0)


def test_fingerprint_follows_files_and_not_their_place(image_root, tmp_path_factory):
    before = load_data("folder", image_root).fingerprint
    moved = tmp_path_factory.mktemp("moved") / "images"
    shutil.copytree(image_root, moved)
    assert load_data("folder", moved).fingerprint == before
    assert load_data("folder", moved, image_size=64).fingerprint != before
    with (moved / "val" / "bee" / "0.JPEG").open("ab") as file:
        file.write(b"0")
    assert load_data("folder", moved).fingerprint != before


def test_a_folder_without_val_holds_a_fifth_of_each_class_out(image_root):
    shutil.rmtree(image_root / "val")
    data = load_data("folder", image_root)
    assert data.test.labels.tolist() == [0, 1, 2]
    assert data.train.labels.bincount().tolist() == [4, 4, 4]
    assert len(set(data.train.paths) | set(data.test.paths)) == 15
    assert load_data("folder", image_root).test.paths == data.test.paths
    assert "held out" in data.note
    assert torch.equal(data.train.labels, data.train.labels.sort().values)


def test_wrong_layouts(image_root):
    with pytest.raises(EANError, match=r"no folder .*nowhere: expected root/train/<class>"):
        load_data("imagenet", image_root / "nowhere")
    with pytest.raises(EANError, match=r"no folder train in .* but ant, bee, cat: expected"):
        load_data("imagenet", image_root / "train")
    (image_root / "val" / "dog").mkdir()
    with pytest.raises(EANError, match=r"no image files in .*val/dog: put .jpg, .jpeg"):
        load_data("imagenet", image_root)
    shutil.copy(image_root / "val" / "ant" / "0.JPEG", image_root / "val" / "dog")
    with pytest.raises(EANError, match=r"val has class folders that train lacks \(1, the first 'dog'\)"):
        load_data("imagenet", image_root)
    shutil.rmtree(image_root / "val" / "dog")
    shutil.rmtree(image_root / "val" / "ant")
    with pytest.raises(EANError, match=r"train has class folders that val lacks \(1, the first 'ant'\)"):
        load_data("imagenet", image_root)


def test_a_part_without_class_folders(image_root):
    shutil.rmtree(image_root / "val")
    (image_root / "val").mkdir()
    shutil.copy(image_root / "train" / "ant" / "0.JPEG", image_root / "val")  # ImageNet's val as it is downloaded
    with pytest.raises(EANError, match=r"no class folders in .*val but 1 image files: expected"):
        load_data("imagenet", image_root)
    shutil.rmtree(image_root / "val")
    with pytest.raises(EANError, match=r"no folder val or test in"):
        load_data("imagenet", image_root)


def test_one_image_cannot_be_parted(image_root):
    shutil.rmtree(image_root / "val")
    for path in sorted((image_root / "train" / "bee").iterdir())[1:]:
        path.unlink()
    with pytest.raises(EANError, match=r"class 'bee' has 1 image: add images, or a val folder"):
        load_data("folder", image_root)


def test_what_is_passed_over_is_said(image_root):
    for name in ("a.heic", "b.gif", "c.jfif"):
        (image_root / "train" / "ant" / name).write_bytes(b"x")
    (image_root / "val" / "bee" / "gone.png").symlink_to("nowhere.png")
    (image_root / "val" / "bee" / "more").mkdir()
    data = load_data("folder", image_root)
    assert len(data.train) + len(data.test) == 21
    (remark,) = data.remarks
    assert remark.startswith("skipped 5 files: 1 .")
    for reason in (
        *(f"1 .{end} (not a supported image format" for end in ("heic", "gif", "jfif")),
        "1 broken link",
        "1 subfolder",
    ):
        assert reason in remark


def test_with_val_and_test_schemes_are_scored_on_one_and_networks_tested_on_the_other(image_root):
    without = load_data("folder", image_root)
    add_part(image_root / "test", 3)
    data = load_data("folder", image_root)
    assert {path.split("/")[-3] for path in data.test.paths} == {"test"}
    assert len(data.test) == 9
    assert len(data.train) == 21
    assert {data.train.paths[i].split("/")[-3] for i in data.val.tolist()} == {"val"}
    assert data.train.labels[data.val].tolist() == [0, 0, 1, 1, 2, 2]
    assert "schemes are scored on 6 images of" in data.remarks[0]
    assert data.fingerprint != without.fingerprint
    assert without.val is None


def test_a_test_folder_without_labels_is_said_not_to_be_used(image_root):
    (image_root / "test").mkdir()
    shutil.copy(image_root / "val" / "ant" / "0.JPEG", image_root / "test" / "unknown.jpg")
    data = load_data("folder", image_root)
    assert {path.split("/")[-3] for path in data.test.paths} == {"val"}
    assert data.remarks == ("folders not used besides train and val: test",)


def test_a_class_may_be_called_train(image_root):
    for name in ("bus", "car", "train", "test"):
        add_part(image_root / "mine" / name, 4, classes=("",))
    data = load_data("folder", image_root / "mine")
    assert data.classes == ("bus", "car", "test", "train")
    add_part(image_root / "mine" / "train", 4, classes=("steam", "diesel"))
    data = load_data("folder", image_root / "mine")
    assert data.classes == ("diesel", "steam"), "with class folders in it it is the training part, and that is said"
    assert data.remarks == ("folders not used besides train: test, bus, car",)


@pytest.mark.parametrize("how", ["link", "copy"])
def test_an_image_in_both_parts_is_refused(image_root, how):
    source, place = image_root / "train" / "ant" / "0.JPEG", image_root / "val" / "ant" / "again.jpg"
    place.symlink_to(source) if how == "link" else shutil.copy(source, place)
    with pytest.raises(EANError, match="1 of the 7 test images are .*training images"):
        load_data("folder", image_root)


def add_part(folder, count, *, classes=("ant", "bee", "cat")):
    """Images of noise that no other part has."""
    rng = np.random.default_rng(zlib.crc32(str(folder).encode()))
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
