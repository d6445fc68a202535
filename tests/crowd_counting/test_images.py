"""Photos of all kinds in a points file: turned, tiny, huge, twice, of FIFOs and with strange names."""

from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crowd_counting import inference
from crowd_counting.data.density_cache import DensityCache, write_cache
from crowd_counting.data.load import load_crowd
from crowd_counting.data.loader import CrowdLoader
from crowd_counting.data.points_file import load_points_file
from crowd_counting.inference import Settings, predict
from crowd_counting.job import whole_images
from crowd_counting.model.losses import LOSSES
from crowd_counting.model.network import build_counter
from crowd_counting.model.training_model import CountingModel
from crowd_counting.recipe import DataRecipe
from ean_core.data.loader import Plan
from ean_core.data.normalize import Normalize
from ean_core.io.records import read_record
from ean_core.utils.errors import EANError
from tests.conftest import Script
from tests.crowd_counting.conftest import TINY
from tests.data.test_read_image import png_of

Points = list[list[float]]


def write_points(folder: Path, sizes: list[tuple[int, int]], *, orientation: int = 1, scale: float = 1.0) -> Path:
    """points.json and PNGs of (H, W); with an orientation they are stored so that it turns them upright."""
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    rng, lists = np.random.default_rng(5), {"train": [], "test": []}
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number, (height, width) in enumerate(sizes):
        pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        points: Points = [[int(rng.integers(0, width)), int(rng.integers(0, height))] for _ in range(4)]
        for x, y in points:
            pixels[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = 230
        image = Image.fromarray(pixels)
        (image if back is None else image.transpose(back)).save(folder / f"{number}.png", exif=exif)
        entry = {"image": f"{number}.png", "points": [[x * scale, y * scale] for x, y in points]}
        lists["train" if number < len(sizes) - 3 else "test"].append(entry)
    (folder / "points.json").write_text(json.dumps(lists))
    return folder / "points.json"


SIZES = [(48, 64)] * 4 + [(56, 40)] * 4


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_photos_are_trained_on_and_tested_upright(tmp_path: Path, orientation: int) -> None:
    plain, turned = (
        load_points_file(write_points(tmp_path / str(number), SIZES, orientation=number)) for number in (1, orientation)
    )
    assert [image.size for image in turned.train] == [image.size for image in plain.train] == SIZES[:5]
    for one, other in zip(whole_images(plain.test, stride=8), whole_images(turned.test, stride=8), strict=True):
        assert torch.equal(one["inputs"], other["inputs"])
    caches = []
    for data in (plain, turned):
        write_cache(tmp_path / "d.h5", data, kernel="fixed:4", stride=8)
        caches.append(DensityCache(tmp_path / "d.h5", data, kernel="fixed:4", stride=8))
    for cache in (None, caches):
        batches = [
            list(
                CrowdLoader(
                    data.train,
                    Plan(2, train=True, seed=1),
                    DataRecipe(crop=32, workers=0),
                    stride=8,
                    cache=None if cache is None else cache[number],
                )
            )
            for number, data in enumerate((plain, turned))
        ]
        for one, other in zip(*batches, strict=True):
            assert torch.equal(one["inputs"], other["inputs"])
            assert all(torch.equal(a, b) for a, b in zip(one["points"], other["points"], strict=True))
            assert cache is None or torch.equal(one["density"], other["density"])


def test_the_commands_give_turned_photos_the_counts_of_upright_ones(tmp_path: Path, script: Callable[..., int]) -> None:
    results = []
    for orientation in (1, 6):
        folder = tmp_path / f"turn{orientation}"
        points = write_points(folder / "data", SIZES, orientation=orientation)
        assert script("train", "--annotations", points, "--work-dir", folder / "run", *TINY) == 0
        test = read_record(folder / "run/seed0/result.json")["metrics"]["final"]["test"]
        checkpoint = folder / "run/seed0/final.pth"
        assert script("test", checkpoint, "--annotations", points, "--out-dir", folder / "test") == 0
        again = read_record(folder / "test/test.json")["metrics"]["final"]
        assert again["mae"] == pytest.approx(test["mae"], abs=1e-4)
        images = [folder / f"data/{number}.png" for number in (5, 6, 7)]
        assert script("predict", checkpoint, *images, "--out-dir", folder / "out") == 0
        counts = [entry["count"] for entry in json.loads((folder / "out/counts.json").read_text())]
        truth = [4.0] * 3
        assert np.abs(np.subtract(counts, truth)).mean() == pytest.approx(test["mae"], abs=1e-3)
        results.append((test["mae"], counts))
    assert results[0] == results[1]


@pytest.mark.parametrize("loss", list(LOSSES))
def test_images_of_a_few_pixels_are_trained_on(tmp_path: Path, loss: str) -> None:
    model = CountingModel(
        build_counter("resnet20", head_channels=8, zero_inflated=LOSSES[loss].zero_inflated),
        Normalize((0.5,) * 3, (0.25,) * 3),
        LOSSES[loss](),
    )
    for number, size in enumerate([(1, 1), (7, 33), (33, 7), (1, 90)]):
        data = load_points_file(write_points(tmp_path / f"{number}", [size] * 6))
        write_cache(tmp_path / f"{number}.h5", data, kernel="fixed:4", stride=8)
        cache = DensityCache(tmp_path / f"{number}.h5", data, kernel="fixed:4", stride=8)
        for crop, maps in product((16, None), (None, cache) if LOSSES[loss].takes_maps else (None,)):
            recipe = DataRecipe(crop=crop, workers=0)
            for batch in CrowdLoader(data.train, Plan(3, train=True, seed=2), recipe, stride=8, cache=maps):
                losses = model(**batch, mode="loss")
                assert all(torch.isfinite(torch.as_tensor(value)).all() for value in losses.values())


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 900)])
def test_images_of_any_shape_are_counted(model: CountingModel, tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size[::-1]).save(tmp_path / "x.png")
    (entry,) = predict(model, [tmp_path / "x.png"], tmp_path / "out", Settings(tile=512, overlap=64))
    assert (entry["height"], entry["width"]) == size
    with Image.open(tmp_path / "out" / entry["picture"]) as picture:
        assert min(picture.size) >= 1


def test_an_image_beyond_pillows_limit_is_counted_in_bounded_memory(
    model: CountingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    monkeypatch.setattr("ean_core.data.read_image.STRIP", 1 << 19)
    (tmp_path / "huge.png").write_bytes(png_of(4000, 5000))
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")

    def zeros(model: CountingModel, pixels: inference.Picture, **how: int) -> tuple[torch.Tensor, int]:
        return torch.zeros(-(-pixels.shape[0] // 8), -(-pixels.shape[1] // 8)), 1

    monkeypatch.setattr(inference, "predict_density", zeros)
    files = [tmp_path / "huge.png", tmp_path / "small.png"]
    tracemalloc.start()
    huge, other = predict(model, files[:1], tmp_path / "out", Settings()) + predict(
        model, files[1:], tmp_path, Settings()
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (huge["height"], huge["width"]) == (5000, 4000)
    monkeypatch.setattr(inference, "LONGEST", 10_000)  # as if it were made an array
    tracemalloc.start()
    predict(model, files[:1], tmp_path / "out", Settings())
    assert tracemalloc.get_traced_memory()[1] > peak + 40e6
    tracemalloc.stop()
    monkeypatch.setattr(inference, "MAX_PIXELS", 10_000)
    huge, other = predict(model, files, tmp_path / "out", Settings())
    assert "4000x5000 pixels" in huge["error"]
    assert "count" in other


def test_a_picture_is_counted_as_its_array(model: CountingModel, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (150, 230, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(tmp_path / "x.png", exif=exif)
    picture = inference.open_picture(tmp_path / "x.png")
    for settings in ({}, {"tile": 96, "overlap": 32}):
        one, tiles = inference.predict_density(model, picture, **settings)
        other, _ = inference.predict_density(model, pixels, **settings)
        assert torch.equal(one, other)
    assert tiles > 4


def test_fractions_and_points_outside_are_warned_of(
    tmp_path: Path, script: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    points = write_points(tmp_path / "d", SIZES, scale=1 / 64)
    assert script("prepare", "--annotations", points, "--out-dir", tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "warning: all 32 points of" in output
    assert "lie between 0 and 1, like fractions" in output
    (remark,) = load_points_file(write_points(tmp_path / "e", SIZES, scale=3)).remarks
    assert "lie outside their images" in remark
    assert not load_points_file(write_points(tmp_path / "f", SIZES)).remarks


@pytest.mark.parametrize("how", ["path", "dots", "link", "bytes"])
def test_a_test_image_that_is_trained_on_is_refused(tmp_path: Path, how: str) -> None:
    points = write_points(tmp_path / "d", SIZES)
    lists = json.loads(points.read_text())
    names = {"path": "0.png", "dots": "../d/0.png", "link": "link.png", "bytes": "copy.png"}
    (tmp_path / "d/link.png").symlink_to("0.png")
    shutil.copy(tmp_path / "d/0.png", tmp_path / "d/copy.png")
    lists["test"].append({"image": names[how], "points": []})
    points.write_text(json.dumps(lists))
    with pytest.raises(EANError, match="1 of the 4 test images are .* training images"):
        load_crowd(annotations=str(points), refuse_copies=True)
    assert load_crowd(annotations=str(points)).remarks


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_strange_files_do_not_stop_the_others(
    model: CountingModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "$x^2$.png", "x" * 250 + ".png", "new\nline.png"):
        Image.new("RGB", (40, 40)).save(folder / name)
    os.mkfifo(folder / "fifo.jpg")
    (folder / "b.heic").touch()
    (folder / "torn\x1b[2J.png").write_bytes(b"torn")
    entries = predict(model, [folder], tmp_path / "out", Settings())
    assert sum("count" in entry for entry in entries) == 4
    (wrong,) = (entry["error"] for entry in entries if "error" in entry)
    assert r"torn\x1b[2J.png" in wrong
    message = "skipped 2 files: 1 .heic (not a supported image format), 1 FIFO, device or the like"
    assert message in capsys.readouterr().err
    pictures = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert len(pictures) == 4
    os.mkfifo(folder / "film.mp4")
    with pytest.raises(EANError, match=r"film\.mp4 is not a regular file"):
        predict(model, [folder / "film.mp4"], tmp_path / "out", Settings())


def test_images_that_cannot_be_read_are_named_below_a_long_list(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(21):
        Image.new("RGB", (16, 16)).save(tmp_path / f"in/{number:02}.png")
    (tmp_path / "in/torn.png").write_bytes(b"torn")
    assert script("predict", "counter-shanghaitech-a", "in", "--out-dir", "out") == 1
    printed = capsys.readouterr()
    assert ".. and 1 more" in printed.out
    assert "skipped: cannot decode the image in/torn.png" in printed.err
    assert printed.err.endswith("1 of 22 images could not be read\n")
