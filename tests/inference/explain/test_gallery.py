"""Files of networks and photos become a picture, with a line for each photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ean_core import EANError
from ean_core.inference.explain import gallery
from ean_core.inference.explain.cam import grad_cam
from ean_core.inference.explain.gallery import explain, explain_masks, true_class
from ean_core.inference.explain.grid import draw_masks
from ean_core.inference.explain.masks import attention_masks
from ean_core.inference.loaded_model import label_files, load_file
from tests.helpers.tiny_files import CLASSES, tiny_arch, tiny_classifier, tiny_counter
from tests.inference.explain.helpers import photo, reference_cam

__all__ = ["tiny_arch"]


def test_a_grid_of_classifiers(tiny_arch: str, tmp_path: Path) -> None:
    files = [tiny_classifier(tmp_path / f"{name}.pth", attention, seed=seed) for seed, (name, attention) in enumerate(
        [("org", None), ("ean", "se"), ("full", "dia")]
    )]  # fmt: skip
    networks = [load_file(file) for file in files]
    photos = [("one.png", photo(), None), ("two.png", photo(20, 30), "cat")]
    picture = explain(networks, photos, tmp_path / "grid.png")
    seen = networks[0].pixels(photos[0][1])
    top = CLASSES[int(networks[0].outputs([seen])[0].argmax())]
    first, second = picture.lines
    score = [net.outputs([seen])[0].softmax(0)[CLASSES.index(top)] for net in networks]
    assert first.startswith(f"one.png: {top} {score[0]:.2f} | {top} {score[1]:.2f}"), "the first one's class, for all"
    assert f"| {top} {score[2]:.2f}" in first
    assert second.count("cat ") >= 3, "the true class, for all"
    assert explain(networks, photos, tmp_path / "grid.png", target="dog").lines[1].count("dog ") >= 3
    with Image.open(tmp_path / "grid.png") as image:
        width, height = image.size
        assert width > 4 * 288
        assert height > 2 * 288
        assert len(set(image.convert("RGB").resize((60, 40)).getdata())) > 200, "an empty picture"
    with pytest.raises(EANError, match="has no stage 4: choose one from 1 to 3"):
        explain(networks, photos, tmp_path / "grid.png", stage=3)


def test_what_cannot_be_explained_is_named(tiny_arch: str, tmp_path: Path) -> None:
    first = load_file(tiny_classifier(tmp_path / "first.pth"))
    other = load_file(tiny_classifier(tmp_path / "other.pth", classes=["w", "x", "y", "z"]))
    with pytest.raises(EANError, match=r"other\.pth: unknown class 'bee'"):
        explain([first, other], [("a.png", photo(), "bee")], tmp_path / "grid.png")
    with pytest.raises(EANError, match="there are no images to explain"):
        explain([first], [], tmp_path / "grid.png")
    assert not (tmp_path / "grid.png").exists()


def test_a_photo_over_the_limit_is_reduced_and_the_others_are_as_they_were(tiny_arch: str, tmp_path: Path) -> None:
    counter = load_file(tiny_counter(tmp_path / "best.pth"))
    small = ("small.png", photo(20, 30), None)
    (alone,) = explain([counter], [small], tmp_path / "grid.png").lines
    wide, other = explain([counter], [("wide.png", photo(8, 2056), None), small], tmp_path / "grid.png").lines
    assert wide.startswith("wide.png (reduced to 2048x8): count ")
    assert other == alone
    thin, _ = explain([counter], [("thin.png", photo(1, 6000), None), small], tmp_path / "grid.png").lines
    assert thin.startswith("thin.png (reduced to 2048x1): count ")


def test_a_grid_of_counters_explains_the_count(tiny_arch: str, tmp_path: Path) -> None:
    counter = load_file(tiny_counter(tmp_path / "best.pth"))
    big = photo(50, 70)
    (line,) = explain([counter], [("crowd.jpg", big, None)], tmp_path / "grid.png").lines
    pixels = counter.pixels(big)
    assert pixels.shape == (3, 50, 70), "a counter takes photos as they are"
    count = counter.outputs([pixels]).sum()
    assert line == f"crowd.jpg: count {count:.1f}"
    inputs = counter.inputs([pixels])
    (heat,), _ = grad_cam(counter.network, counter.trunk.stages[-1], inputs, [lambda density: density.sum()])
    expected = reference_cam(counter.network, counter.trunk.stages[-1], inputs, lambda density: density.sum())
    np.testing.assert_allclose(heat, expected, atol=1e-4)
    with pytest.raises(EANError, match="networks of one kind"):
        explain([counter, load_file(tiny_classifier(tmp_path / "c.pth"))], [], tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("attention", ["se", "sge"])
def test_pictures_of_masks(tiny_arch: str, tmp_path: Path, attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        gallery, "draw_masks", lambda path, rows, title: drawn.append(rows) or draw_masks(path, rows, title=title)
    )
    net = load_file(tiny_classifier(tmp_path / "ean.pth", attention))
    image = photo()
    picture = explain_masks(net, [("one.png", image, None)], tmp_path / "masks.png")
    assert picture.path.stat().st_size > 5000
    assert "one.png: 3 masks, mean" in picture.lines[0]
    ((row,),) = drawn
    masks = attention_masks(net.network, net.trunk, net.inputs([net.pixels(image)]))
    assert [[block is None for block in stage] for stage in row.stages] == [[False, False], [True], [False]]
    expected = masks[0].values[0].mean(dim=0 if attention == "sge" else (1, 2))
    np.testing.assert_allclose(row.stages[0][0], expected)
    with pytest.raises(EANError, match="none of its blocks is connected"):
        explain_masks(load_file(tiny_classifier(tmp_path / "org.pth", None)), [], tmp_path / "none.png")


def test_names_of_files_and_classes(tmp_path: Path) -> None:
    assert label_files(["a/org.pth", "b/ean.pth"]) == ["org", "ean"]
    assert label_files(["w/org-seed0/classifier.pth", "w/ean-seed0/classifier.pth"]) == ["org-seed0", "ean-seed0"]
    assert label_files(["w/org-seed0/classifier.pth"]) == ["org-seed0"]
    assert label_files(["a/x/c.pth", "b/x/c.pth"]) == ["a/x/c.pth", "b/x/c.pth"]
    assert true_class(Path("data/val/bee/1.jpg"), CLASSES) == "bee"
    assert true_class(Path("data/val/bees/1.jpg"), CLASSES) is None
