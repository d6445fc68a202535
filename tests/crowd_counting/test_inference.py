"""A large image counted in tiles, and the pictures and videos that show the counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from crowd_counting.density_overlay import overlay, write_text
from crowd_counting.inference import Settings, predict
from crowd_counting.model.network import build_counter
from crowd_counting.model.tiles import predict_density, tiles_along
from crowd_counting.model.training_model import CountingModel
from ean_core.data.normalize import Normalize
from ean_core.utils.errors import EANError


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("cells", [1, 5, 20, 21, 37, 100])
@pytest.mark.parametrize(("tile", "overlap"), [(20, 0), (20, 4), (9, 4)])
def test_tiles_part_the_axis(cells: int, tile: int, overlap: int) -> None:
    covered = []
    for span in tiles_along(cells, tile=tile, overlap=overlap):
        assert span.end - span.first <= tile
        assert span.first <= span.keep_first < span.keep_end <= span.end
        assert span.first == 0 or span.keep_first - span.first >= overlap
        assert span.end == cells or span.end - span.keep_end >= overlap
        covered += range(span.keep_first, span.keep_end)
    assert covered == list(range(cells))


def test_tiles_of_a_network_deeper_than_its_map_equal_the_whole_image() -> None:
    """Features of stride 16 under a map of stride 8: a tile that starts at an odd cell would shift them."""
    pytest.importorskip("timm")
    torch.manual_seed(0)
    counter = build_counter("timm:mobilenetv2_035", features="stride16", head_channels=8, stride=8)
    torch.nn.init.normal_(counter.head[-1].weight, std=2.0)
    model = CountingModel(counter, Normalize((0.5,) * 3, (0.25,) * 3)).eval()
    pixels = noise(120, 648)  # 81 cells across
    whole, _ = predict_density(model, pixels)
    tiled, tiles = predict_density(model, pixels, tile=512, overlap=192)
    assert (whole.shape, tiles, counter.pad_to) == ((15, 81), 3, 16)
    torch.testing.assert_close(tiled, whole, rtol=1e-3, atol=1e-5)


def test_tiles_equal_the_whole_image(model: CountingModel) -> None:
    """resnet20 at stride 8 sees under 120 pixels to each side."""
    pixels = noise(403, 517)
    whole, one = predict_density(model, pixels)
    tiled, many = predict_density(model, pixels, tile=320, overlap=128)
    assert one == 1
    assert many > 4
    assert float(whole.std()) > 1e-4
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-6)
    careless, _ = predict_density(model, pixels, tile=320, overlap=0)
    assert float((careless - whole).abs().max()) > 1e-5  # it is the overlap that makes them equal


def test_the_network_never_sees_more_than_a_tile(model: CountingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, forward = [], model.counter.forward
    monkeypatch.setattr(model.counter, "forward", lambda x: (seen.append(x.shape[-2:]), forward(x))[1])
    predict_density(model, noise(50, 900), tile=160, overlap=32)
    assert max(max(shape) for shape in seen) == 160
    with pytest.raises(EANError, match="a tile of 64 pixels with an overlap of 32 keeps nothing"):
        predict_density(model, noise(8, 8), tile=64, overlap=32)


def test_overlay_shows_where_heads_are() -> None:
    density = np.zeros((5, 7), dtype=np.float32)
    density[4, 5] = 2.0
    pixels = np.full((37, 52, 3), 40, dtype=np.uint8)
    picture = overlay(pixels, density, stride=8)
    assert picture.shape == pixels.shape
    changed = np.abs(picture.astype(int) - 40).sum(axis=2)
    assert changed[35, 44] > 100
    assert changed[33:, :20].max() < 40
    assert overlay(noise(100, 4096), np.ones((13, 512), np.float32), stride=8).shape == (50, 2048, 3)


def test_a_picture_says_the_true_count_where_it_is_known(model: CountingModel, tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.fromarray(noise(64, 200)).save(tmp_path / f"{name}.png")
    settings = Settings(annotated={(tmp_path / "a.png").resolve(): 7})
    entries = predict(model, [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", settings)
    assert [entry.get("annotated") for entry in entries] == [7, None]
    corners = [np.array(Image.open(tmp_path / "out" / f"{name}_density.png"))[:20, 100:] for name in ("a", "b")]
    assert (corners[0] != corners[1]).any()
    wide = write_text(np.zeros((60, 90, 3), np.uint8), "predicted 12345, true 12345")
    assert not wide[:, -1].any()  # nothing is cut off


def test_folder_with_a_broken_image(model: CountingModel, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(noise(40, 61)).save(folder / "a.jpg")
    Image.fromarray(noise(40, 61)).save(folder / "a.png")
    Image.fromarray(noise(64, 64)[..., 0]).save(folder / "gray.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright: rows of the file are columns of the scene
    Image.fromarray(np.rot90(noise(40, 61))).save(folder / "turned.png", exif=exif)
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-300])
    (folder / "notes.txt").write_text("no image")
    entries = predict(model, [folder], tmp_path / "out", Settings())
    by_name = {entry["image"]: entry for entry in entries}
    assert set(by_name) == {"a.jpg", "a.png", "b.jpg", "gray.png", "turned.png"}
    assert "cannot decode" in by_name["b.jpg"]["error"]
    density, _ = predict_density(model, noise(40, 61))
    assert by_name["a.png"]["count"] == pytest.approx(float(density.sum()), rel=1e-5)
    assert by_name["turned.png"]["count"] == pytest.approx(by_name["a.png"]["count"], rel=1e-5)
    assert (by_name["a.png"]["height"], by_name["a.png"]["width"], by_name["a.png"]["tiles"]) == (40, 61, 1)
    pictures = {entry["picture"] for entry in entries if "picture" in entry}
    assert pictures == {"a_density.png", "a.png_density.png", "gray_density.png", "turned_density.png"}
    assert all(Image.open(tmp_path / "out" / name).size in ((61, 40), (64, 64)) for name in pictures)


def test_files_of_one_name_from_several_folders(model: CountingModel, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("one/a.jpg", "two/a.jpg", "three/a.jpg")]
    for number, file in enumerate(files):
        file.parent.mkdir()
        Image.fromarray(noise(32, 40 + number)).save(file)
    entries = predict(model, [files[0].parent, *files[1:]], tmp_path / "out", Settings())
    assert len({entry["picture"] for entry in entries}) == 3
    assert [Image.open(tmp_path / "out" / entry["picture"]).width for entry in entries] == [40, 41, 42]
    (tmp_path / "film.avi").touch()
    with pytest.raises(EANError, match=r"film\.avi is a video: give it as the only source"):
        predict(model, [files[0], tmp_path / "film.avi"], tmp_path / "out", Settings())


def test_video(model: CountingModel, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(7):
        writer.write(np.roll(noise(48, 64), number, axis=1))
    writer.release()
    entries = predict(model, [tmp_path / "in.avi"], tmp_path / "out", Settings(every=3))
    assert [entry["frame"] for entry in entries] == [0, 3, 6]
    assert [entry["seconds"] for entry in entries] == pytest.approx([0, 0.3, 0.6])
    assert len({entry["count"] for entry in entries}) == 3
    video = cv2.VideoCapture(str(tmp_path / "out" / "in_density.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    (tmp_path / "caf\udce9.avi").touch()  # at such a name OpenCV ends the process
    with pytest.raises(EANError, match=r"caf\\udce9.avi is not valid UTF-8, which videos need: rename it"):
        predict(model, [tmp_path / "caf\udce9.avi"], tmp_path / "out", Settings())
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(EANError, match="no frame of the video .*bad.mp4 can be decoded"):
        predict(model, [tmp_path / "bad.mp4"], tmp_path / "out", Settings())
    assert not (tmp_path / "out" / "bad_density.mp4").exists()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "does not exist: give an image, a folder of images or a video"),
        (lambda path: path.mkdir(), "no images in the folder"),
        (lambda path: path.write_text("x"), "is neither an image .* nor a video"),
    ],
)
def test_nothing_to_count(model: CountingModel, tmp_path: Path, make: Callable[[Path], object], sentence: str) -> None:
    make(tmp_path / "source")
    with pytest.raises(EANError, match=sentence):
        predict(model, [tmp_path / "source"], tmp_path / "out", Settings())


def test_a_video_that_was_not_written_whole_replaces_none(
    model: CountingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "in.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(3):
        writer.write(np.roll(noise(48, 64), number, axis=1))
    writer.release()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "in_density.mp4").write_bytes(b"a good one")

    class Full:
        """OpenCV's writer on a full disk: it says nothing."""

        fourcc = cv2.VideoWriter.fourcc

        def __init__(self, path: str, *_: object) -> None:
            Path(path).write_bytes(b"\0" * 44)

        def write(self, frame: np.ndarray) -> None:
            pass

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoWriter", Full)
    with pytest.raises(EANError, match="in_density.mp4 could not be written completely: free disk space there"):
        predict(model, [tmp_path / "in.avi"], tmp_path / "out", Settings())
    assert (tmp_path / "out" / "in_density.mp4").read_bytes() == b"a good one"
