"""Reading data sets: every spelling, every fault, and the split."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from crowd_counting.data.demo import draw_demo
from crowd_counting.data.density_cache import DensityCache, write_cache
from crowd_counting.data.holdout import hold_out, load_split, save_split
from crowd_counting.data.points import CrowdData, CrowdImage, check_decodes
from crowd_counting.data.points_file import load_points_file
from crowd_counting.data.shanghaitech import load_shanghaitech
from ean_core.utils.errors import EANError
from tests.crowd_counting.conftest import random_points, write_pair


def numbered(count: int) -> list[CrowdImage]:
    return [CrowdImage(f"IMG_{i}", Path(f"{i}.jpg"), (8, 8), np.zeros((1, 2), np.float32)) for i in range(count)]


def test_reads_points_sizes_and_order(crowd: CrowdData) -> None:
    assert [image.name for image in crowd.train] == [f"IMG_{i}" for i in range(1, 9)]
    assert crowd.train[0].size == (70, 93)
    assert crowd.train[0].points.dtype == np.float32
    np.testing.assert_allclose(crowd.train[0].points, random_points(4, (70, 93), seed=1))
    assert [image.count for image in crowd.test] == [2, 4, 6]
    assert "partial: found 8 of 300 training images and 3 of 182 test images" in crowd.note


@pytest.mark.parametrize("part", ["part_A", "part_A_final"])
@pytest.mark.parametrize("points", ["ground-truth", "ground_truth"])
def test_both_spellings(crowd_root: Path, crowd: CrowdData, part: str, points: str) -> None:
    for half in ("train_data", "test_data"):
        folder = crowd_root / "part_A" / half
        (folder / "ground-truth").rename(folder / points)
    (crowd_root / "part_A").rename(crowd_root / part)
    assert load_shanghaitech(crowd_root, "A").fingerprint() == crowd.fingerprint()


def test_images_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for half in ("train_data", "test_data"):
        for number in (10, 9, 2, 1):
            write_pair(tmp_path / "part_B" / half, number, [(1, 1)], size=(9, 9))
    names = [image.name for image in load_shanghaitech(tmp_path, "B").train]
    assert names == ["IMG_1", "IMG_2", "IMG_9", "IMG_10"]


def test_an_image_without_heads(tmp_path: Path) -> None:
    for half in ("train_data", "test_data"):
        write_pair(tmp_path / "part_A" / half, 1, np.zeros((0, 2)), size=(9, 9))
    assert load_shanghaitech(tmp_path, "A").train[0].points.shape == (0, 2)


def broken(root: Path, fault: str) -> None:
    """Break the tiny part in a named way."""
    train = root / "part_A" / "train_data"
    mat, image = train / "ground-truth" / "GT_IMG_3.mat", train / "images" / "IMG_3.jpg"
    if fault == "no part":
        shutil.rmtree(root / "part_A")
    elif fault == "no images folder":
        shutil.rmtree(train / "images")
    elif fault == "no points folder":
        shutil.rmtree(train / "ground-truth")
    elif fault == "no mat":
        mat.unlink()
    elif fault == "no image":
        image.unlink()
    elif fault == "truncated mat":
        mat.write_bytes(mat.read_bytes()[:200])
    elif fault == "another mat":
        scipy.io.savemat(mat, {"points": np.zeros((3, 2))})
    elif fault == "three columns":
        write_pair(train, 3, np.zeros((4, 3)).reshape(-1, 2), size=(9, 9))
        inner = scipy.io.loadmat(mat)["image_info"]
        inner[0, 0][0, 0][0] = np.zeros((4, 3))
        scipy.io.savemat(mat, {"image_info": inner})
    elif fault == "nan":
        write_pair(train, 3, np.array([(np.nan, 1.0)]), size=(9, 9))
    elif fault == "no image file":
        image.write_text("not an image")
    elif fault == "empty":
        for file in (train / "images").iterdir():
            file.unlink()


FAULTS = {
    "no part": "no folder part_A or part_A_final in",
    "no images folder": "no folder .*images: expected images/IMG_1.jpg",
    "no points folder": "no folder ground-truth or ground_truth in",
    "no mat": r"GT_IMG_3.mat does not exist: every image needs its points",
    "no image": r"GT_IMG_3.mat has no image: put IMG_3.jpg next to the others",
    "truncated mat": r"cannot read the annotations .*GT_IMG_3.mat \(.*\): replace the file",
    "another mat": r"GT_IMG_3.mat is not a ShanghaiTech annotation: expected the points in image_info",
    "three columns": r"the points of .*GT_IMG_3.mat have shape \(4, 3\): expected \(N, 2\)",
    "nan": "the points of .*GT_IMG_3.mat contain NaN or infinity",
    "no image file": r"cannot decode the image .*IMG_3.jpg \(.*\): replace or remove the file",
    "empty": "no images in .*: expected IMG_1.jpg",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_sentence(crowd_root: Path, fault: str) -> None:
    broken(crowd_root, fault)
    with pytest.raises(EANError, match=FAULTS[fault]):
        load_shanghaitech(crowd_root, "A")


def test_unknown_part(crowd_root: Path) -> None:
    with pytest.raises(EANError, match="unknown part 'C': choose one of A, B, demo"):
        load_shanghaitech(crowd_root, "C")


def test_a_truncated_image_is_found(crowd: CrowdData) -> None:
    check_decodes(crowd.train)
    path = crowd.train[4].path
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(EANError, match=r"cannot decode the image .*IMG_5.jpg"):
        check_decodes(crowd.train)


# -- the split ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "train", "val"), [(300, 270, 30), (400, 360, 40), (24, 22, 2), (2, 1, 1)])
def test_split_sizes(count: int, train: int, val: int) -> None:
    images = numbered(count)
    first, other = hold_out(images, seed=0)
    assert (len(first), len(other)) == (train, val)
    assert {image.name for image in first} | {image.name for image in other} == {image.name for image in images}
    assert not {image.name for image in first} & {image.name for image in other}


def test_split_is_stable() -> None:
    """The same on every machine and in every year, whatever order the files come in."""
    images = numbered(40)
    names = [image.name for image in hold_out(images, seed=0)[1]]
    assert names == [image.name for image in images if image.name in names]
    assert names == ["IMG_7", "IMG_13", "IMG_30", "IMG_33"]
    assert {image.name for image in hold_out(images[::-1], seed=0)[1]} == set(names)
    assert [image.name for image in hold_out(images, seed=1)[1]] != names


def test_split_file(tmp_path: Path, crowd: CrowdData) -> None:
    split = hold_out(crowd.train, seed=3, share=0.3)
    save_split(tmp_path / "split.json", crowd, split, seed=3)
    assert load_split(tmp_path / "split.json", crowd) == split
    record = json.loads((tmp_path / "split.json").read_text())
    assert record["test"] == ["IMG_1", "IMG_2", "IMG_3"]
    record["train"].append(record["val"][0])
    (tmp_path / "split.json").write_text(json.dumps(record))
    with pytest.raises(EANError, match="must divide the 8 training images of part_A into nonempty train and val"):
        load_split(tmp_path / "split.json", crowd)
    (tmp_path / "split.json").write_text('{"train": []')
    with pytest.raises(EANError, match="cannot be read"):
        load_split(tmp_path / "split.json", crowd)
    with pytest.raises(EANError, match="does not exist"):
        load_split(tmp_path / "other.json", crowd)


def test_impossible_splits() -> None:
    with pytest.raises(EANError, match="cannot split 1 training image"):
        hold_out(numbered(1), seed=0)
    with pytest.raises(EANError, match="between 0 and 1"):
        hold_out(numbered(5), seed=0, share=1.5)


# -- other data sets ------------------------------------------------------------------------------------------------

JSON_SET = {
    "train": [{"image": "i/a.png", "points": [[1.5, 2], [3, 4]]}, {"image": "i/b.png", "points": []}],
    "test": [{"image": "i/c.png", "points": [[5, 6]]}],
}
CSV_SET = "part,image,x,y\ntrain,i/a.png,1.5,2\ntrain,i/a.png,3,4\ntrain,i/b.png,,\ntest,i/c.png,5,6\n"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "i").mkdir()
    for name in "abc":
        Image.new("RGB", (12, 10)).save(tmp_path / "i" / f"{name}.png")
    return tmp_path


def test_json_and_csv_say_the_same(pictures: Path) -> None:
    (pictures / "set.json").write_text(json.dumps(JSON_SET))
    (pictures / "set.csv").write_text(CSV_SET)
    first, other = (load_points_file(pictures / f"set.{kind}") for kind in ("json", "csv"))
    assert first.fingerprint() == other.fingerprint()
    assert first.name == "set"
    assert [image.name for image in first.train] == ["i/a.png", "i/b.png"]
    assert first.train[0].size == (10, 12)
    assert first.train[0].points.tolist() == [[1.5, 2], [3, 4]]
    assert first.train[1].count == 0


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("s.txt", "", r"must be a .json or .csv file"),
        ("s.json", "{", "cannot be read as JSON"),
        ("s.json", '{"train": []}', 'have the wrong form .*expected "train" and "test"'),
        ("s.json", '{"train": [1], "test": []}', "have the wrong form"),
        ("s.json", '{"train": [], "test": []}', "have no train images"),
        ("s.json", '{"train": [], "train": [], "test": []}', "gives 'train' twice"),
        ("s.json", json.dumps({**JSON_SET, "test": JSON_SET["test"] * 2}), "list the image i/c.png twice"),
        ("s.json", json.dumps(JSON_SET).replace("[5, 6]", "[5]"), r"the points of i/c.png .* have shape \(1, 1\)"),
        (
            "s.json",
            json.dumps(JSON_SET).replace("[5, 6]", f"[5, 1{'0' * 400}]"),
            "the points of i/c.png .* not numbers",
        ),
        ("s.json", json.dumps(JSON_SET).replace("i/c", "i/d"), r"the image .*i/d.png does not exist"),
        ("s.csv", "a,b\n", "the first line must be part,image,x,y"),
        ("s.csv", CSV_SET + "val,i/a.png,1,2\n", "line 6: expected train or test, an image, x and y"),
        ("s.csv", CSV_SET + "test,i/c.png,1,\n", "line 6"),
        ("s.csv", CSV_SET + "test,i/c.png,1\n", "line 6"),
    ],
)
def test_bad_point_files(pictures: Path, name: str, text: str, sentence: str) -> None:
    (pictures / name).write_text(text)
    with pytest.raises(EANError, match=sentence):
        load_points_file(pictures / name)


def test_missing_points_file(tmp_path: Path) -> None:
    with pytest.raises(EANError, match=r"no.json does not exist"):
        load_points_file(tmp_path / "no.json")


# -- cached maps ----------------------------------------------------------------------------------------------------


def test_cache_holds_the_maps(tmp_path: Path, crowd: CrowdData) -> None:
    write_cache(tmp_path / "maps.h5", crowd, kernel="adaptive", stride=8)
    cache = DensityCache(tmp_path / "maps.h5", crowd, kernel="adaptive", stride=8)
    for image in crowd.train:
        assert cache[image.name].shape == tuple(-(-side // 8) for side in image.size)
        assert cache[image.name].sum() == pytest.approx(image.count, rel=1e-4)
    with pytest.raises(EANError, match="has kernel adaptive, but this run needs dots"):
        DensityCache(tmp_path / "maps.h5", crowd, kernel="dots", stride=8)
    with pytest.raises(EANError, match="has stride 8, but this run needs 4"):
        DensityCache(tmp_path / "maps.h5", crowd, kernel="adaptive", stride=4)
    fewer = CrowdData(crowd.name, crowd.train[1:], crowd.test)
    with pytest.raises(EANError, match="has fingerprint"):
        DensityCache(tmp_path / "maps.h5", fewer, kernel="adaptive", stride=8)
    (tmp_path / "maps.h5").write_bytes(b"\x89HDF nothing")
    with pytest.raises(EANError, match="cannot be read"):
        DensityCache(tmp_path / "maps.h5", crowd, kernel="adaptive", stride=8)
    with pytest.raises(EANError, match="does not exist"):
        DensityCache(tmp_path / "none.h5", crowd, kernel="adaptive", stride=8)


def test_a_changed_cache_is_refused_before_hdf5_reads_it(
    tmp_path: Path, crowd: CrowdData, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "maps.h5"
    write_cache(path, crowd, kernel="fixed:4", stride=8)
    content = path.read_bytes()
    (tmp_path / "older.h5").write_bytes(content[512:])  # as earlier versions wrote it
    DensityCache(tmp_path / "older.h5", crowd, kernel="fixed:4", stride=8)
    path.write_bytes(content[:-100] + bytes([content[-100] ^ 8]) + content[-99:])
    monkeypatch.setattr("crowd_counting.data.density_cache.h5py.File", None)
    with pytest.raises(EANError, match=r"maps.h5 has changed since it was written"):
        DensityCache(path, crowd, kernel="fixed:4", stride=8)


@pytest.mark.parametrize(
    ("name", "value"),
    [("0", np.full((9, 12), np.nan, np.float32)), ("0", np.zeros((9, 12), np.int8)), ("0", np.zeros(3, np.float32))],
)
def test_maps_that_are_no_densities_are_refused(tmp_path: Path, crowd: CrowdData, name: str, value: np.ndarray) -> None:
    path = tmp_path / "maps.h5"
    write_cache(path, crowd, kernel="fixed:4", stride=8)
    path.write_bytes(path.read_bytes()[512:])
    with h5py.File(path, "r+") as file:
        image = file[name].attrs["image"]
        del file[name]
        file.create_dataset(name, data=value).attrs["image"] = image
    with pytest.raises(
        EANError, match=r"maps.h5 cannot be read \((a density is negative or not finite|it holds something)"
    ):
        DensityCache(path, crowd, kernel="fixed:4", stride=8)


def test_a_full_disk_leaves_the_old_maps(tmp_path: Path, crowd: CrowdData, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "maps.h5"
    write_cache(path, crowd, kernel="fixed:4", stride=8)
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left on device: '.*maps.h5'"):
        write_cache(path, crowd, kernel="fixed:4", stride=4)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.glob("*maps*")] == ["maps.h5"]


def test_a_made_up_crowd_that_was_interrupted_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("crowd_counting.data.demo.save_mat", full)
        draw_demo(tmp_path, train=2, test=1)
    assert not list(tmp_path.iterdir())
    folder = draw_demo(tmp_path, train=2, test=1)
    assert len(list(folder.rglob("*.mat"))) == 3
