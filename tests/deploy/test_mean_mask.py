"""Mean masks: as a slow loop computes them, and folded into the weights without changing the function."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from ean_core import EANError, create_model
from ean_core.deploy.fold import fold_batch_norm, fold_pair
from ean_core.deploy.mean_mask import constant_masks, drop_calls, find_calls, fold_masks, mean_masks
from ean_core.networks import StagedNetwork
from ean_core.networks.network_file import ModelSpec
from tests.helpers.tiny_networks import difference, images, trained

CASES = [
    ("resnet20", "se", "stage"),
    ("resnet20", "sge", "stage"),
    ("resnet20", "dia", "stage"),
    ("resnet20", "timm:eca", "stage"),
    ("resnet29", "se", "block"),
    ("resnet29", "dia", "stage"),
    ("resnet18", "sge", "stage"),
    ("resnet50_nobias", "timm:se", "block"),
]


def side(network: StagedNetwork) -> int:
    return 8 if network.stem_kind == "cifar" else 64


def names(network: nn.Module) -> list[str]:
    return [call.name for call in find_calls(network)]


def randomize(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {name: torch.rand(mask.shape, generator=generator) + 0.2 for name, mask in masks.items()}


@pytest.mark.parametrize(("arch", "attention", "sharing"), CASES)
def test_folded_masks_equal_constant_masks(arch: str, attention: str, sharing: str) -> None:
    network = trained(arch, attention, sharing=sharing)
    x = images(network, size=side(network))
    with torch.no_grad():
        masks = mean_masks(network, [x])
        assert list(masks) == names(network)
        before = network(x)
        some = dict(list(randomize(masks).items())[1::2])  # the others go on working
        for replaced in (masks, some):
            folded = fold_masks(network, replaced, probe=x)
            with constant_masks(network, replaced):
                expected = network(x)
            assert difference(expected, folded(x)) < 1e-5
            assert names(folded) == [name for name in names(network) if name not in replaced]
        assert difference(before, expected) > 1e-3  # random masks do change the function
        assert torch.equal(network(x), before)


def test_a_trained_file_folds_too_once_its_batch_norms_are_gone() -> None:
    network = trained("resnet18", "se")
    x = images(network, size=64)
    without_norms = network.prune()
    for conv, norm in without_norms.conv_norm_pairs():
        fold_pair(without_norms, conv, norm)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in without_norms.modules())
    with torch.no_grad():
        masks = mean_masks(without_norms.eval(), [x])
        with constant_masks(network, masks):
            expected = network(x)
        assert difference(expected, fold_masks(without_norms, masks, probe=x)(x)) < 1e-4


@pytest.mark.parametrize("attention", ["se", "sge", "dia"])
def test_mean_masks_are_those_of_a_loop_over_images_blocks_and_positions(attention: str) -> None:
    network = trained("resnet20", attention, scheme="101 | 110 | 011")
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    expected: dict[str, Tensor] = {}
    with torch.no_grad():
        for image in x:
            features = network.forward_stem(image[None])
            for number, stage in enumerate(network.stages):
                state = None
                for index, block in enumerate(stage.blocks):
                    residual, shortcut = block(features)
                    if stage.bits[index]:
                        mask, state = stage.attention.mask(residual, state)
                        name = f"layer{number + 1}.{index}"
                        channels = (mask * torch.ones_like(residual)).mean(dim=(0, 2, 3))
                        expected[name] = expected.get(name, 0) + channels / len(x)
                        residual = residual * mask
                    features = torch.relu(residual + shortcut)
        got = mean_masks(network, [x[:1], x[1:]])
    assert list(got) == list(expected)
    for name, mask in expected.items():
        torch.testing.assert_close(got[name], mask)


def test_the_mask_of_an_attention_that_gives_none_is_the_scale_of_its_output() -> None:
    network = trained("resnet20", "timm:eca")
    x = images(network, size=8)
    seen: list[Tensor] = []
    eca = network.stages[0].attention.module
    eca.register_forward_hook(lambda module, inputs, out: seen.append(out / inputs[0]))
    with torch.no_grad():
        got = mean_masks(network, [x])["layer1.1"]
    torch.testing.assert_close(got, seen[1].median(dim=3).values.median(dim=2).values.mean(dim=0), rtol=1e-4, atol=1e-5)


def test_folded_masks_fold_further_with_their_batch_norms() -> None:
    network = trained("resnet29", "se")
    x = images(network, size=8)
    with torch.no_grad():
        folded = fold_masks(network, mean_masks(network, [x]), probe=x)
        assert folded.prune().stages[0].attention is None
        assert difference(folded(x), fold_batch_norm(folded)(x)) < 1e-4


def test_dropping_a_call_is_a_mask_of_one() -> None:
    network = trained("resnet20", "se")
    x = images(network, size=8)
    with torch.no_grad(), constant_masks(network, {"layer2.1": torch.ones(32)}):
        expected = network(x)
    dropped = drop_calls(network, ["layer2.1"])
    assert torch.equal(dropped(x), expected)
    assert str(dropped.scheme) == "111 | 101 | 111"


def gates_of(name: str, **options: object) -> nn.Module:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=5, **options).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.4, 0.8)
            module.bias.data.normal_(0, 0.2)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
    return network


# SE after a batch norm (ResNet), after an activation and before a convolution (MobileNet, RegNet, EfficientNet)
@pytest.mark.parametrize(
    ("name", "options", "calls"),
    [
        ("seresnet18", {}, 8),
        ("mobilenetv3_small_050", {}, 9),
        ("regnety_002", {}, 13),
        ("ecaresnet26t", {}, 8),
    ],
)
def test_the_gates_of_a_timm_network_fold_away(name: str, options: dict[str, object], calls: int) -> None:
    network = gates_of(name, **options)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        masks = mean_masks(network, [x])
        assert len(masks) == calls
        some = dict(list(randomize(masks).items())[::2])
        for replaced in (some, masks):
            folded = fold_masks(network, replaced, probe=x)
            with constant_masks(network, replaced):
                expected = network(x)
            assert difference(expected, folded(x)) < 1e-4
            assert names(folded) == [call for call in masks if call not in replaced]


def test_attention_behind_the_blocks_of_a_mobile_trunk_folds_away() -> None:
    pytest.importorskip("timm")
    network = create_model("timm:mobilenetv2_035", num_classes=5, attention="se").eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        masks = randomize(mean_masks(network, [x]))
        with constant_masks(network, masks):
            expected = network(x)
        assert difference(network(x), expected) > 1e-3
        assert difference(expected, fold_masks(network, masks, probe=x)(x)) < 1e-4


def test_a_file_says_which_attention_of_the_trunk_was_folded() -> None:
    pytest.importorskip("timm")
    spec = ModelSpec("timm:seresnet18", num_classes=5)
    network = spec.build().eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        masks = dict(list(mean_masks(network, [x]).items())[:3])
        folded = fold_masks(network, masks, probe=x)
        again = dataclasses.replace(spec, folded=tuple(masks)).build().eval()
        again.load_state_dict(folded.state_dict())
        assert torch.equal(again(x), folded(x))
    assert next(iter(masks)) == "layer1.0.se"


def test_a_call_behind_an_attention_of_the_trunk_is_refused() -> None:
    pytest.importorskip("timm")
    network = create_model("timm:seresnet18", num_classes=5, attention="se").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.4, 0.8)
    x = torch.randn(2, 3, 64, 64)
    with pytest.raises(EANError, match="cannot be folded exactly"):
        fold_masks(network, randomize(mean_masks(network, [x])), probe=x)


def test_unknown_calls_and_missing_images_are_refused() -> None:
    network = trained("resnet20", "se")
    with pytest.raises(EANError, match=r"no attention call 'layer4\.0': it has layer1\.0"):
        drop_calls(network, ["layer4.0"])
    with pytest.raises(EANError, match="the training part is empty"):
        mean_masks(network, [])


def test_a_network_without_attention_has_no_calls() -> None:
    assert find_calls(trained("resnet20")) == []
    assert find_calls(trained("resnet20", "se", scheme="000 | 000 | 000")) == []


@pytest.mark.parametrize("tf32", [True, False])
def test_folding_is_checked_in_full_float32(tf32: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """TF32 rounds by more than the check allows, and would refuse exact folds on a GPU."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    network = trained("resnet20", "se")
    x = images(network, size=8)
    masks = mean_masks(network, [x])
    allowed = []
    network.fc.register_forward_hook(lambda *_: allowed.append(torch.backends.cudnn.allow_tf32))  # copied with it
    fold_masks(network, masks, probe=x)
    assert allowed == [False, False]
    assert torch.backends.cudnn.allow_tf32 is tf32
