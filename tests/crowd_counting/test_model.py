"""The counter over every architecture and attention, its start, and its files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from crowd_counting.model.counter_file import load_counter, save_counter
from crowd_counting.model.network import Counter, CounterSpec, build_counter
from crowd_counting.model.pretrained import load_initial_weights, make_spec, read_initial_weights
from crowd_counting.model.training_model import CountingModel
from crowd_counting.recipe import ModelRecipe
from ean_core import Scheme
from ean_core.data.normalize import Normalize
from ean_core.io.checksum import KEY as CHECKSUM
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.utils.errors import EANError
from tests.helpers.tiny_networks import small_architectures

BITS = "101001010"  # resnet20 has 3 + 3 + 3 blocks


@pytest.mark.parametrize("arch", ["resnet20", "resnet29", "resnet18", "resnet50", "resnet34_nobias"])
@pytest.mark.parametrize("features", ["stage3", "all"])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_shapes_for_odd_sizes(arch: str, features: str, stride: int) -> None:
    with small_architectures():
        counter = build_counter(arch, features=features, stride=stride, head_channels=8)
    with torch.no_grad():
        density = counter(torch.randn(1, 3, 45, 67))
    assert density.shape == (1, 1, -(-45 // stride), -(-67 // stride))
    assert density.dtype == torch.float32
    assert (density > 0).all()


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_dilated_head_on_the_stages_up_to_stride_16(stride: int) -> None:
    counter = build_counter("resnet18", features="stride16", stride=stride, head_channels=8)
    assert counter.trunk.stages_blocks == (2, 2, 2)
    with torch.no_grad():
        density = counter(torch.randn(1, 3, 45, 67))
        earlier = counter.trunk.forward_features(torch.randn(1, 3, 64, 64))[counter.join.index or 0]
    assert density.shape == (1, 1, -(-45 // stride), -(-67 // stride))
    assert (counter.join.lateral is None) == (stride == 16)
    if stride < 16:
        assert earlier.shape[-1] == 64 // stride


def test_a_mobile_trunk_sees_whole_positions_of_its_deepest_stage() -> None:
    """Its padding depends on the image's size modulo 16 otherwise, and shifts the features."""
    torch.manual_seed(0)
    counter = build_counter("timm:mobilenetv2_035", features="stride16", head_channels=8)
    image = torch.randn(1, 3, 56, 40)
    whole = counter(F.pad(image, (0, 8, 0, 8)))
    assert whole.shape[-2:] == (8, 6)
    density = counter(image)
    assert density.shape[-2:] == (7, 5)
    torch.testing.assert_close(density, whole[..., :7, :5])


def test_a_zero_inflated_counter_gives_the_expected_count(tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = CounterSpec("resnet20", head_channels=8, zero_inflated=True)
    counter = spec.build().eval()
    counter.set_initial_density(0.05)
    image = torch.randn(1, 3, 45, 67)
    with torch.no_grad():
        assert float(counter(image).mean()) == pytest.approx(0.05, rel=0.5)
        nn.init.normal_(counter.head[-1].weight)
        rate, logit = counter.distribution(image)
        density = counter(image)
        torch.testing.assert_close(density, rate * (1 - 1 / (1 + torch.exp(-logit))))
        assert density.shape == rate.shape == (1, 1, 6, 9)
        assert not torch.allclose(density, rate / 2, rtol=0.05)
        save_counter(tmp_path / "best.pth", counter, spec, mean=[0.5] * 3, std=[0.25] * 3)
        torch.testing.assert_close(load_counter(tmp_path / "best.pth")[0](image), density)


def test_networks_for_small_images_have_no_stage_of_stride_16() -> None:
    with pytest.raises(EANError, match="resnet20 is for small images and has no stage of stride 16"):
        build_counter("resnet20", features="stride16")


def test_frozen_stages_are_not_trained_but_their_attention_is() -> None:
    counter = CounterSpec("resnet18", "se", features="stride16", head_channels=8).build()
    counter.freeze_stages(1)
    counter(torch.randn(1, 3, 32, 32)).sum().backward()
    without = {name for name, parameter in counter.named_parameters() if parameter.grad is None}
    assert without == {
        name
        for name, _ in counter.named_parameters()
        if name.startswith(("trunk.conv1", "trunk.bn1", "trunk.layer1.")) and ".attention" not in name
    }
    with pytest.raises(EANError, match="frozen_stages must be fewer than the trunk's 3 stages, got 3"):
        counter.freeze_stages(3)


def test_stage_four_is_dropped() -> None:
    counter = build_counter("resnet50", attention="se")
    assert counter.trunk.stages_blocks == (3, 4, 6)
    assert not any("layer4" in name for name in counter.state_dict())
    assert any("layer4" in name for name in build_counter("resnet50", features="all").state_dict())


@pytest.mark.parametrize("attention", ["se", "sge", "dia"])
@pytest.mark.parametrize("head_norm", ["none", "group"])
def test_gradients_reach_everything(attention: str, head_norm: str) -> None:
    counter = CounterSpec("resnet20", attention, scheme=BITS, head_norm=head_norm, head_channels=8).build()
    counter(torch.randn(2, 3, 32, 40)).sum().backward()
    for name, parameter in counter.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_scheme_over_all_the_networks_stages() -> None:
    """16 bits for ResNet-50; those of the dropped stage do nothing, and unconnected attention is not built."""
    counter = build_counter("resnet50", attention="se", scheme="0000100110011001")
    assert counter.trunk.scheme.text == "0000100110011"
    assert counter.trunk.layer1.attention is None
    assert build_counter("resnet50", attention="se", scheme="org").trunk.scheme.connections == 0
    with pytest.raises(EANError, match="9 bits but the network needs 16"):
        build_counter("resnet50", attention="se", scheme=BITS)
    with pytest.raises(EANError, match="unknown architecture 'resnet51'"):
        CounterSpec("resnet51").build()


def test_softplus_does_not_die() -> None:
    """A counter that has been driven to give nothing anywhere still learns a crowd; one with a ReLU would not."""
    torch.manual_seed(0)
    counter = CounterSpec("resnet20", head_channels=8).build()
    nn.init.constant_(counter.head[-1].bias, -8.0)
    optimizer = torch.optim.Adam(counter.head.parameters(), lr=0.2)
    images = torch.randn(1, 3, 16, 16)
    counter.eval()
    assert float(counter(images).sum().detach()) < 1e-3
    for _ in range(100):
        optimizer.zero_grad()
        ((counter(images).sum(dim=(1, 2, 3)) - 3.0) ** 2).mean().backward()
        assert counter.head[-1].bias.grad.abs() > 0
        optimizer.step()
    assert float(counter(images).sum().detach()) == pytest.approx(3.0, rel=0.3)


@pytest.mark.parametrize("density", [1e-5, 0.04, 3.0])
def test_start_at_gives_the_density(density: float) -> None:
    counter = build_counter("resnet20", head_channels=8)
    nn.init.zeros_(counter.head[-1].weight)
    counter.set_initial_density(density)
    with torch.no_grad():
        assert float(counter(torch.zeros(1, 3, 32, 32)).mean()) == pytest.approx(density, rel=1e-3)


def test_frozen_statistics_stay() -> None:
    images = torch.randn(4, 3, 32, 32) * 5
    for frozen in (False, True):
        counter = build_counter("resnet20", head_channels=8)
        if frozen:
            counter.freeze_batch_norm()
        counter.train()
        before = counter.trunk.bn1.running_mean.clone()
        counter(images)
        assert torch.equal(before, counter.trunk.bn1.running_mean) == frozen
        assert counter.trunk.bn1.weight.requires_grad


def test_padding_and_normalization_are_the_same_in_training_and_test() -> None:
    """A small image in a larger padded batch gives what it gives alone."""
    counter = build_counter("resnet20", head_channels=8)
    model = CountingModel(counter, Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))).eval()
    small = torch.randint(0, 256, (1, 3, 40, 35), dtype=torch.uint8)
    batch = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    batch[0, :, :40, :35] = small
    with torch.no_grad():
        alone = counter(model.normalize(small))[0, 0]
        sizes = torch.tensor([(40, 35), (64, 64)])
        together = model(batch, sizes, [], [])[0]
        assert together[5:].abs().sum() + together[:, 5:].abs().sum() == 0
        # The padding reaches further here, so that the cells at its border see more of it; all the others agree.
        torch.testing.assert_close(together[:3, :2], alone[:3, :2], rtol=0.05, atol=1e-4)
        exact = model(batch[:1, :, :40, :40], sizes[:1], [], [])[0]
        torch.testing.assert_close(exact, alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"features": "stage5"}, "features must be one of stage3, all, stride16"),
        ({"stride": 6}, "stride must be one of 4, 8, 16"),
        ({"head_norm": "batch"}, "head_norm must be one of none, group"),
        ({"head_channels": 12}, "head_channels must be a multiple of 8"),
    ],
)
def test_impossible_options(options: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        CounterSpec("resnet20", **options).build()


# -- weights to start from -------------------------------------------------------------------------------------------


def classifier_file(path: Path, *, scheme: str = BITS, channels: int = 3) -> ModelSpec:
    spec = ModelSpec("resnet20", num_classes=10, attention="se", scheme=scheme, pruned=True, in_channels=channels)
    network = spec.build()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    save_network(path, network, spec, classes=list("abcdefghij"), mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    return spec


def started(recipe: ModelRecipe) -> tuple[Counter, str]:
    start = read_initial_weights(recipe.weights, arch=recipe.arch)
    spec = make_spec(recipe, start)
    counter = spec.build()
    return counter, load_initial_weights(counter.trunk, start, spec)


def test_classifier_gives_network_scheme_weights_and_normalization(tmp_path: Path) -> None:
    classifier_file(path := tmp_path / "classifier.pth")
    counter, report = started(ModelRecipe(weights=str(path)))
    state = torch.load(path, weights_only=True)["state_dict"]
    assert counter.trunk.scheme.text == BITS
    for name, value in counter.trunk.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert "tensors loaded" in report
    start = read_initial_weights(str(path), arch=None)
    assert (start.mean, start.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_classifier_with_a_part_of_its_attention(tmp_path: Path) -> None:
    """Org and fewer connections can start from it; attention it does not have cannot."""
    classifier_file(path := tmp_path / "classifier.pth", scheme="101000000")
    assert started(ModelRecipe(weights=str(path), scheme="org"))[0].trunk.scheme.connections == 0
    assert started(ModelRecipe(weights=str(path), scheme="001000000"))[0].trunk.scheme.connections == 1
    with pytest.raises(
        EANError, match=r"has attention in layer1.attention, but the new network also has layer3.attention"
    ):
        started(ModelRecipe(weights=str(path), scheme="000000001"))
    with pytest.raises(EANError, match="holds a resnet20, but the new network is a resnet29: give weights of"):
        started(ModelRecipe(weights=str(path), arch="resnet29"))


def test_torchvision_weights(tmp_path: Path) -> None:
    theirs = torchvision.models.resnet18()
    torch.save(theirs.state_dict(), path := tmp_path / "resnet18.pth")
    counter, report = started(ModelRecipe(arch="resnet18", attention="se", weights=str(path)))
    assert torch.equal(counter.trunk.conv1.weight, theirs.conv1.weight)
    assert float(counter.trunk.conv1.bias.detach().abs().sum()) == 0
    assert "attention" in report
    with pytest.raises(EANError, match="holds the weights of another network"):
        started(ModelRecipe(arch="resnet50", weights=str(path)))


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    with pytest.raises(EANError, match="does not exist"):
        read_initial_weights(str(path), arch=None)
    classifier_file(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(EANError, match="damaged or truncated"):
        read_initial_weights(str(path), arch=None)
    torch.save({"epoch": 3}, path)
    with pytest.raises(EANError, match="holds no weights of a network"):
        read_initial_weights(str(path), arch=None)
    classifier_file(path, channels=1)
    content = torch.load(path)
    del content[CHECKSUM]  # of the content as it was
    torch.save({**content, "mean": [0.5], "std": [0.5]}, path)
    with pytest.raises(EANError, match=r"trained on images with 1 channel, but the new network takes 3"):
        started(ModelRecipe(weights=str(path)))
    with pytest.raises(EANError, match="no public ImageNet weights of 'resnet20'"):
        read_initial_weights("imagenet", arch="resnet20")


def test_timms_network_from_its_public_weights(tmp_path: Path) -> None:
    timm, safetensors = pytest.importorskip("timm"), pytest.importorskip("safetensors.torch")
    theirs = timm.create_model("resnet18").state_dict()
    safetensors.save_file(theirs, tmp_path / "model.safetensors")
    start = read_initial_weights(str(tmp_path / "model.safetensors"), arch="timm:resnet18")
    for choice in ({"features": "all"}, {"stride": 16}):
        spec = make_spec(ModelRecipe(arch="timm:resnet18", attention="timm:eca", head_channels=8, **choice), start)
        counter = spec.build().eval()
        load_initial_weights(counter.trunk, start, spec)
        assert torch.equal(counter.trunk.state_dict()["layer3.1.conv2.weight"], theirs["layer3.1.conv2.weight"])
        with torch.no_grad():
            density = counter(torch.randn(1, 3, 45, 67))
        assert density.shape == (1, 1, -(-45 // spec.stride), -(-67 // spec.stride))
    with pytest.raises(EANError, match="stage 3 of timm:resnet18 has stride 16, but stride 8 was requested"):
        build_counter("timm:resnet18")


def test_scheme_file_gives_network_and_attention(tmp_path: Path) -> None:
    Scheme.parse(BITS, blocks=(3, 3, 3)).save(path := tmp_path / "scheme.json", arch="resnet20", attention="sge")
    spec = make_spec(ModelRecipe(scheme=str(path)), read_initial_weights(None, arch=None))
    assert (spec.arch, spec.attention, spec.scheme) == ("resnet20", "sge", BITS)


def test_schemes_by_name() -> None:
    start = read_initial_weights(None, arch=None)
    full = make_spec(ModelRecipe(arch="resnet20", attention="se"), start)
    assert (full.sharing, full.build().trunk.scheme.connections) == ("stage", 9)
    per_block = make_spec(ModelRecipe(arch="resnet20", attention="se", scheme="org-full"), start)
    assert per_block.sharing == "block"
    assert make_spec(ModelRecipe(arch="resnet20", attention="se", scheme="org"), start).attention is None
    with pytest.raises(EANError, match="connects attention, but none is given: add --attention"):
        make_spec(ModelRecipe(arch="resnet20", scheme=BITS), start)
    with pytest.raises(EANError, match="8 bits but the network needs 9"):
        make_spec(ModelRecipe(arch="resnet20", attention="se", scheme="01010101"), start)


# -- counter files ---------------------------------------------------------------------------------------------------


def test_counter_file_round_trip(tmp_path: Path) -> None:
    spec = CounterSpec("resnet20", "se", scheme=BITS, features="all", head_channels=8, head_norm="group")
    counter = spec.build().eval()
    save_counter(tmp_path / "best.pth", counter, spec, mean=[0.1] * 3, std=[0.2] * 3, epoch=7)
    again, content = load_counter(tmp_path / "best.pth")
    images = torch.randn(1, 3, 40, 40)
    with torch.no_grad():
        assert torch.equal(counter(images), again(images))
    assert not again.training
    assert (content["epoch"], content["mean"]) == (7, [0.1] * 3)


def test_other_files_are_no_counters(tmp_path: Path) -> None:
    classifier_file(path := tmp_path / "classifier.pth")
    with pytest.raises(EANError, match="a file of format 'ean-network-1', not a counter: give a best.pth or final.pth"):
        load_counter(path)
    torch.save([1], path)
    with pytest.raises(EANError, match="another kind of file, not a counter"):
        load_counter(path)
    spec = CounterSpec("resnet20", head_channels=8)
    save_counter(path, spec.build(), CounterSpec("resnet20", head_channels=16))
    with pytest.raises(EANError, match="do not fit the counter it names"):
        load_counter(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(EANError, match="damaged or truncated"):
        load_counter(path)
