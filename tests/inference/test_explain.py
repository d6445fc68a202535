"""Grad-CAM against a reference of a few lines, masks against what the attention really multiplies by."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS
from ean_core.inference.explain import gallery, grid
from ean_core.inference.explain.cam import grad_cam
from ean_core.inference.explain.gallery import explain, explain_masks, true_class
from ean_core.inference.explain.grid import (
    MaskRow,
    Row,
    draw_grid,
    draw_masks,
    enlarge,
    mosaic,
    overlay,
    strips,
    wrapped,
)
from ean_core.inference.explain.masks import attention_masks, fit_mask
from ean_core.inference.explain.targets import class_index, class_target, count_target
from ean_core.inference.loaded_model import label_files, load_file
from ean_core.networks import StagedNetwork
from tests.helpers.tiny_files import CLASSES, shake, tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]
RNG = np.random.default_rng(0)


def photo(height: int = 16, width: int = 16) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def network(attention: str | None = "se", **options: object) -> StagedNetwork:
    torch.manual_seed(0)
    scheme = "010 100 011" if attention else None
    return shake(create_model("resnet20", num_classes=4, attention=attention, scheme=scheme, **options))


# -- Grad-CAM ---------------------------------------------------------------------------------------------------------


def reference_cam(net: nn.Module, layer: nn.Module, images: Tensor, value) -> np.ndarray:
    """Equations 1 and 2 of the Grad-CAM paper for one image, stretched to 0 to 1 and enlarged."""
    kept = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output))
    score = value(net(images)[0])
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * kept[0]).sum(dim=1)[0].relu().detach().numpy()
    heat = heat - heat.min()
    heat = cv2.resize(heat / (1e-7 + heat.max()), images.shape[:1:-1])
    heat = heat - heat.min()
    return heat / (1e-7 + heat.max())


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("stage", [-1, 0])
def test_grad_cam_equals_the_reference(attention: str | None, stage: int) -> None:
    net = network(attention)
    images = torch.randn(2, 3, 16, 24)
    # a class for one and all but that for the other: what speaks against the one must not be lost at the ReLU
    values = [lambda logits: logits[1], lambda logits: -logits[1]]
    heat, output = grad_cam(net, net.stages[stage], images, values)
    assert heat.shape == (2, 16, 24)
    assert heat.max() > 0.9
    torch.testing.assert_close(output, net(images).detach())
    for index, value in enumerate(values):
        expected = reference_cam(net, net.stages[stage], images[index : index + 1], value)
        np.testing.assert_allclose(heat[index], expected, atol=1e-4)


def test_grad_cam_equals_the_librarys() -> None:
    library = pytest.importorskip("pytorch_grad_cam")
    net = network()
    images = torch.randn(2, 3, 16, 24)
    values = [lambda logits: logits[1], lambda logits: -logits[1]]
    with library.GradCAM(model=net, target_layers=[net.stages[-1]]) as cam:
        expected = cam(input_tensor=images.clone(), targets=values)
    heat, _ = grad_cam(net.requires_grad_(False), net.stages[-1], images, values)
    np.testing.assert_allclose(heat, expected, atol=1e-5)
    with torch.inference_mode():
        again, _ = grad_cam(net, net.stages[-1], images.clone(), values)
    np.testing.assert_allclose(again, heat, atol=1e-6)


def test_the_network_is_left_as_it_was() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        images = torch.randn(1, 3, 16, 16)
    grad_cam(net, net.stages[-1], images.clone(), [lambda logits: logits[0]])
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(IndexError):  # the library would swallow it, and draw nothing
        grad_cam(net, net.stages[-1], images.clone(), [lambda logits: logits[99]])
    assert not any(module._forward_hooks for module in net.modules())


def test_the_heat_is_where_the_target_is() -> None:
    class Bright(nn.Module):
        """One feature map, the brightness; its sum is the output."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 1, bias=False)
            nn.init.ones_(self.layer.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).sum(dim=(2, 3))

    images = torch.zeros(1, 3, 20, 30)
    images[:, :, 4:8, 21:27] = 1
    net = Bright()
    (heat,), _ = grad_cam(net, net.layer, images, [lambda output: output[0]])
    np.testing.assert_allclose(heat, images[0, 0].numpy(), atol=1e-5)


# -- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", list(ATTENTIONS))
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_masks_are_what_the_residual_is_multiplied_by(attention: str, sharing: str) -> None:
    net = network(attention, sharing=sharing)
    images = torch.randn(2, 3, 16, 16)
    found = {(mask.stage, mask.block): mask.values for mask in attention_masks(net, net, images)}
    expected = {}
    with torch.no_grad():  # the network once more, by hand
        x = net.relu(net.bn1(net.conv1(images)))
        for number, stage in enumerate(net.stages):
            state = None
            for index, block in enumerate(stage.blocks):
                residual, shortcut = block(x)
                if stage.bits[index]:
                    module = stage.attention if sharing == "stage" else stage.attention[index]
                    out, state = module(residual, state if sharing == "stage" else None)
                    expected[number, index] = (residual, out)
                    residual = out
                x = (residual + shortcut).relu()
    assert list(found) == list(expected) == [(0, 1), (1, 0), (2, 1), (2, 2)]
    for place, (residual, out) in expected.items():
        torch.testing.assert_close(found[place] * residual, out)
        assert found[place].shape[2:] == ((1, 1) if attention != "sge" else residual.shape[2:])
    assert not any(module._forward_hooks for module in net.modules())


def test_squeeze_and_excitation_masks_by_the_formula() -> None:
    net = network("se")
    images = torch.randn(1, 3, 16, 16)
    (first, *_) = attention_masks(net, net, images)
    with torch.no_grad():
        x = net.stages[0].blocks[0](net.relu(net.bn1(net.conv1(images))))
        residual, _ = net.stages[0].blocks[1](sum(x).relu())
    module, pooled = net.stages[0].attention, residual.mean(dim=(2, 3))[0]
    hidden = (module.squeeze.weight @ pooled + module.squeeze.bias).clamp(min=0)
    expected = 1 / (1 + torch.exp(-(module.excite.weight @ hidden + module.excite.bias)))
    torch.testing.assert_close(first.of_channels(0), expected.detach())


def test_strips_and_mosaic() -> None:
    picture = strips([None, np.array([1.0, 2.0]), None])
    assert picture.shape == (3, 2)
    assert np.isnan(picture[[0, 2]]).all()
    assert picture[1].tolist() == [1, 2]
    maps = [np.full((2, 3), float(number)) for number in range(8)]
    maps[4] = None
    picture = mosaic(maps)  # six beside each other, then two
    assert picture.shape == (2 * 2 + 1, 6 * 3 + 5)
    assert (picture[:2, 4:7] == 1).all()
    assert np.isnan(picture[:2, 16:19]).all()
    assert (picture[3:, 4:7] == 7).all()
    assert np.isnan(picture[2]).all()


# -- targets ----------------------------------------------------------------------------------------------------------


def test_targets_say_score_and_name() -> None:
    logits = torch.tensor([1.0, 3.0, 0.0, 2.0])
    scores = logits.exp() / logits.exp().sum()
    own = class_target(logits, None, classes=CLASSES)
    assert (own.name, own.text(logits)) == ("bee", f"bee, {100 * scores[1]:.0f} %")
    cat = class_target(logits, "cat", classes=CLASSES)
    assert cat.text(logits) == f"cat, {100 * scores[2]:.0f} %\ntop: bee, {100 * scores[1]:.0f} %"
    assert cat.value(logits) == 0
    assert class_target(logits * 9, "8", classes=["7", "8", "9", "x"]).text(logits * 9) == "class 8, 100 %"
    assert class_target(logits, "3", classes=CLASSES).name == "dog"
    assert class_index(["7", "3"], "3") == 1, "a name goes before a number"
    for wanted in ("bea", "4", "-1", ""):
        with pytest.raises(EANError, match="4 classes, such as"):
            class_target(logits, wanted, classes=CLASSES)
    with pytest.raises(EANError, match="such as bee"):
        class_target(logits, "bea", classes=CLASSES)
    density = torch.tensor([[[1.5, 2.0], [0.0, 1.0]]])
    count = count_target(density, None)
    assert (count.value(density), count.text(density)) == (4.5, "count 4.5")
    with pytest.raises(EANError, match="unknown target 'bee'"):
        count_target(density, "bee")


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_are_enlarged_and_blended() -> None:
    assert enlarge(np.zeros((32, 32, 3), np.uint8)).shape == (288, 288, 3)
    assert enlarge(np.zeros((400, 1200), np.float32)).shape == (96, 288)
    image = np.full((8, 4, 3), 100, np.uint8)
    heat = np.zeros((8, 4), np.float32)
    heat[6:] = 1
    blended = overlay(image, heat)
    assert blended.shape == (288, 144, 3)
    cold, hot = blended[0, 0].astype(int), blended[-1, 0].astype(int)
    assert cold[2] > cold[0], "cold is blue"
    assert hot[0] > hot[2], "hot is red"


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
    texts = [f"{top}, {100 * value:.0f} %" for value in score]
    assert first.startswith(f"one.png: {texts[0]} | {texts[1]}"), "the first one's class, for all"
    assert f"| {texts[2]}" in first
    assert second.count("cat, ") >= 3, "the true class, for all"
    assert explain(networks, photos, tmp_path / "grid.png", target="dog").lines[1].count("dog, ") >= 3
    with Image.open(tmp_path / "grid.png") as image:
        width, height = image.size
        assert width > 4 * 288
        assert height > 2 * 288
        assert len(set(image.convert("RGB").resize((60, 40)).getdata())) > 200, "an empty picture"
    with pytest.raises(EANError, match="has no stage 4: choose one from 1 to 3"):
        explain(networks, photos, tmp_path / "grid.png", stage=3)


def test_what_cannot_be_explained_is_named(tiny_arch: str, tmp_path: Path) -> None:
    one = load_file(tiny_classifier(tmp_path / "one.pth"))
    other = load_file(tiny_classifier(tmp_path / "other.pth", classes=["w", "x", "y", "z"]))
    with pytest.raises(EANError, match=r"other\.pth: unknown class 'bee'"):
        explain([one, other], [("a.png", photo(), "bee")], tmp_path / "grid.png")
    with pytest.raises(EANError, match="there are no images to explain"):
        explain([one], [], tmp_path / "grid.png")
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
    one = photo()
    picture = explain_masks(net, [("one.png", one, None)], tmp_path / "masks.png")
    assert picture.path.stat().st_size > 5000
    assert "one.png: 3 masks, mean" in picture.lines[0]
    ((row,),) = drawn
    masks = attention_masks(net.network, net.trunk, net.inputs([net.pixels(one)]))
    assert [[block is None for block in stage] for stage in row.stages] == [[False, False], [True], [False]]
    expected = masks[0].values[0].mean(dim=0 if attention == "sge" else (1, 2))
    np.testing.assert_allclose(row.stages[0][0], expected)
    with pytest.raises(EANError, match="none of its blocks is connected"):
        explain_masks(load_file(tiny_classifier(tmp_path / "org.pth", None)), [], tmp_path / "none.png")


def test_drawing_takes_unlike_rows(tmp_path: Path) -> None:
    wide, tall = np.zeros((10, 40, 3), np.uint8), np.zeros((40, 10, 3), np.uint8)
    rows = [Row("a", one, [one], [np.zeros(one.shape[:2], np.float32)], ["x"]) for one in (wide, tall)]
    assert draw_grid(tmp_path / "g.png", rows, ["net"]).exists()
    depths = [[np.linspace(0, 1, 8)] * 18, [None] * 18]
    assert draw_masks(tmp_path / "m.png", [MaskRow("a", wide, depths)], title="t").exists()


def test_long_names_in_the_grid_are_broken_so_that_neighbours_stay_apart() -> None:
    text = wrapped("ean-seed0\nresnet29, contrast.py:Contrast 9/9\n" + "x" * 40)
    assert text.split("\n") == ["ean-seed0", "resnet29,", "contrast.py:Contrast 9/9", "x" * 28, "x" * 12]
    assert wrapped("") == ""


def test_only_stages_with_masks_have_channels_to_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    monkeypatch.setattr(grid, "save", lambda figure, path: figures.append(figure) or path)
    image = np.zeros((10, 10, 3), np.uint8)
    draw_masks(tmp_path / "m.png", [MaskRow("a", image, [[np.linspace(0, 1, 8), None], [None]])], title="t")
    _, first, second, bar = figures[0].axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("channel", "")
    assert list(second.get_xticks()) == []
    assert bar.get_ylabel() == "factor on the residual"


def test_names_of_files_and_classes(tmp_path: Path) -> None:
    assert label_files(["a/org.pth", "b/ean.pth"]) == ["org", "ean"]
    assert label_files(["w/org-seed0/classifier.pth", "w/ean-seed0/classifier.pth"]) == ["org-seed0", "ean-seed0"]
    assert label_files(["w/org-seed0/classifier.pth"]) == ["org-seed0"]
    assert label_files(["a/x/c.pth", "b/x/c.pth"]) == ["a/x/c.pth", "b/x/c.pth"]
    assert true_class(Path("data/val/bee/1.jpg"), CLASSES) == "bee"
    assert true_class(Path("data/val/bees/1.jpg"), CLASSES) is None


def test_attention_without_a_mask_gets_the_factor_that_fits() -> None:
    pytest.importorskip("timm")
    net = network("timm:eca")
    images = torch.randn(2, 3, 16, 16)
    (first, *_) = attention_masks(net, net, images)
    with torch.no_grad():
        residual, _ = net.stages[0].blocks[1](sum(net.stages[0].blocks[0](net.relu(net.bn1(net.conv1(images))))).relu())
        out, _ = net.stages[0].attention(residual)
    assert first.fitted
    assert first.values.shape == (2, residual.shape[1], 1, 1), "eca weights channels"
    torch.testing.assert_close(first.values * residual, out, rtol=1e-3, atol=1e-4)
    residual, gain = torch.randn(2, 5, 4, 3), torch.rand(2, 1, 4, 3)
    torch.testing.assert_close(fit_mask(residual, residual * gain).float(), gain)
