"""The residual network: published counts, invariants, and every architecture with every attention and mode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ean_core import EANError, Scheme, count_parameters, create_model
from ean_core.attention import ATTENTIONS
from ean_core.networks import ARCHITECTURES, stages_blocks
from tests.helpers.tiny_files import tiny_arch
from tests.helpers.tiny_networks import small_architectures

__all__ = ["tiny_arch"]

# Table 1 of arXiv 2011.14058, to the last digit.
TABLE_1 = [
    ("resnet164", None, "stage", 1727284),
    ("resnet164", "se", "block", 1929388),
    ("resnet164", "se", "stage", 1738512),
    ("resnet164", "sge", "block", 1728148),
    ("resnet164", "sge", "stage", 1727332),
    ("resnet164", "dia", "stage", 1946132),
    ("resnet50", None, "stage", 25583592),
    ("resnet50", "se", "block", 28114584),
    ("resnet50", "se", "stage", 26283992),
    ("resnet50", "sge", "block", 25585640),
    ("resnet50", "sge", "stage", 25584104),
    ("resnet50", "dia", "stage", 28384612),
]


@pytest.mark.parametrize(("arch", "attention", "sharing", "count"), TABLE_1)
def test_table_1_parameter_counts(arch: str, attention: str | None, sharing: str, count: int) -> None:
    with torch.device("meta"):
        network = create_model(arch, attention=attention, sharing=sharing)
    assert count_parameters(network) == count


def test_a_schemes_parameters_do_not_depend_on_it_while_every_stage_has_one() -> None:
    scheme = "001100100101110101 001100000111001111 101100000111110001"  # Table 2, EAN (a)
    assert count_parameters(create_model("resnet164", attention="se", scheme=scheme).prune()) == 1738512


def mode_scheme(mode: str, blocks: tuple[int, ...]) -> Scheme:
    return Scheme.random(blocks, np.random.default_rng(1)) if mode == "ean" else Scheme.all_on(blocks)


def gradients_are_finite(arch: str, attention: str | None, sharing: str, scheme: Scheme | None) -> None:
    torch.manual_seed(0)
    with small_architectures():
        net = create_model(arch, num_classes=5, attention=attention, sharing=sharing, scheme=scheme)
    size = 32 if net.stem_kind == "imagenet" else 8
    logits = net(torch.randn(2, 3, size, size))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        stage = net.get_submodule(name.split(".")[0]) if name.startswith("layer") else None
        idle = stage is not None and ".attention" in name and not any(stage.bits)
        if idle or (".attention." in name and sharing == "block" and not stage.bits[int(name.split(".")[2])]):
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def pairs() -> Iterator[tuple[str, str, str]]:
    """Every architecture with every attention and every mode, and over all of them every attention in every mode."""
    modes, attentions = ("org-full", "share-full", "ean"), list(ATTENTIONS)
    archs = [name for name in ARCHITECTURES if not name.endswith("_nobias")]
    for number, arch in enumerate(archs):
        for index in range(max(len(modes), len(attentions))):
            yield arch, attentions[(number + index) % len(attentions)], modes[index % len(modes)]


@pytest.mark.parametrize(("arch", "attention", "mode"), pairs())
def test_every_architecture_attention_and_mode_trains(arch: str, attention: str, mode: str) -> None:
    sharing = "block" if mode == "org-full" else "stage"
    gradients_are_finite(arch, attention, sharing, mode_scheme(mode, stages_blocks(arch)))


@pytest.mark.parametrize("arch", list(ARCHITECTURES))
def test_every_architecture_trains_without_attention(arch: str) -> None:
    gradients_are_finite(arch, None, "stage", None)


@pytest.mark.parametrize("sharing", ["stage", "block"])
@pytest.mark.parametrize("attention", list(ATTENTIONS))
@pytest.mark.parametrize("arch", ["resnet20", "resnet50"])
def test_pruned_equals_masked_in_eval_mode(arch: str, attention: str, sharing: str) -> None:
    torch.manual_seed(0)
    with small_architectures():
        net = create_model(arch, num_classes=4, attention=attention, sharing=sharing).eval()
        org = create_model(arch, num_classes=4)
    images, blocks = torch.randn(2, 3, 24, 24), net.stages_blocks
    rng = np.random.default_rng(2)
    middle = (0,) * blocks[0] + (1,) * (sum(blocks) - blocks[0])  # a stage without any connection
    for scheme in [Scheme.all_off(blocks), Scheme(middle, blocks), Scheme.random(blocks, rng)]:
        net.set_scheme(scheme)
        pruned = net.prune()
        with torch.inference_mode():
            torch.testing.assert_close(pruned(images), net(images), rtol=0, atol=0)
        assert pruned.scheme == scheme
        for stage, bits in zip(pruned.stages, scheme.stages, strict=True):
            assert (stage.attention is None) == (not any(bits))
    net.set_scheme(Scheme.all_off(blocks))
    assert count_parameters(net.prune()) == count_parameters(org)


def test_pruned_attention_cannot_be_connected_again() -> None:
    pruned = create_model("resnet20", attention="se", scheme="000 111 000").prune()
    with pytest.raises(EANError, match="has no attention there"):
        pruned.set_scheme("100 111 000")
    assert str(pruned.scheme) == "000 | 111 | 000"
    with pytest.raises(EANError):
        pruned.set_scheme("000 011 001")
    assert str(pruned.scheme) == "000 | 111 | 000"  # a refused scheme is not set by half
    pruned.set_scheme("000 010 000")  # what is still there can be disconnected and connected


def test_prune_leaves_the_network_as_it_was() -> None:
    net = create_model("resnet20", attention="se", scheme="000 111 000")
    net.prune()
    net.set_scheme(None)
    assert net.scheme == Scheme.all_on((3, 3, 3))


@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_scheme_changes_the_output_only_where_it_is_set(attention: str) -> None:
    torch.manual_seed(0)
    net = create_model("resnet29", attention=attention).eval()
    images = torch.randn(2, 3, 32, 32)
    outputs = []
    with torch.inference_mode():
        for index in range(9):
            net.set_scheme([int(i == index) for i in range(9)])
            outputs.append(net(images))
        net.set_scheme("org")
        plain = net(images)
    assert all((output - plain).abs().max() > 1e-6 for output in outputs)


@pytest.mark.parametrize("attention", list(ATTENTIONS))
@pytest.mark.parametrize("size", [(32, 32), (8, 8), (45, 19), (4, 4)])
def test_any_batch_and_image_size_in_channels_last_and_autocast(attention: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = create_model("resnet29", attention=attention, num_classes=7).eval()
    with torch.inference_mode():
        for batch in (1, 3):
            images = torch.randn(batch, 3, *size)
            plain = net(images)
            last = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
            torch.testing.assert_close(last, plain, rtol=1e-3, atol=1e-4)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                low = net(images).float()
            assert low.shape == plain.shape == (batch, 7)
            assert torch.isfinite(low).all()
            assert (low - plain).abs().max() < 0.1 * plain.abs().max() + 0.1


def test_compiled_equals_eager_and_follows_the_scheme(tiny_arch: str) -> None:
    torch.manual_seed(0)
    net = create_model(tiny_arch, attention="dia", num_classes=3).eval()
    compiled = torch.compile(net, backend="eager", fullgraph=True)  # the C++ backend: tests/deploy/test_compile.py
    images = torch.randn(2, 3, 8, 8)
    with torch.inference_mode():
        for bits in ("1111", "0100"):
            net.set_scheme(bits)
            torch.testing.assert_close(compiled(images), net(images), rtol=1e-4, atol=1e-4)


def test_features_have_the_promised_channels_and_strides() -> None:
    net = create_model("resnet50", num_classes=0, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), attention="se").eval()
    with torch.inference_mode():
        features = net.forward_features(torch.randn(1, 3, 64, 64))
    assert [tuple(maps.shape[1:]) for maps in features] == [
        (256, 16, 16),
        (512, 8, 8),
        (1024, 8, 8),
        (2048, 8, 8),
    ]
    assert net.stage_channels == (256, 512, 1024, 2048)
    assert net.fc is None


def test_contract_dilation_halves_a_stages_first_dilation() -> None:
    plain = create_model("resnet50", dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1))
    contracted = create_model("resnet50", dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1), contract_dilation=True)
    assert [block.conv2.dilation[0] for block in plain.layer4.blocks] == [4, 4, 4]
    assert [block.conv2.dilation[0] for block in contracted.layer4.blocks] == [2, 4, 4]
    assert [block.conv2.dilation[0] for block in contracted.layer1.blocks] == [1, 1, 1]


def test_initialisation_is_the_papers() -> None:
    torch.manual_seed(0)
    net = create_model("resnet50")
    weight = net.layer3.blocks[1].conv2.weight
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.02)
    assert float(net.conv1.bias.detach().abs().max()) == 0
    assert float(net.layer1.blocks[0].bn3.weight.detach().min()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"arch": "resnet165"}, "unknown architecture 'resnet165'.*did you mean 'resnet164'"),
        ({"arch": "resnet20", "attention": "sse"}, "unknown attention 'sse'"),
        ({"arch": "resnet20", "sharing": "stages", "attention": "se"}, "sharing must be one of stage, block"),
        ({"arch": "resnet20", "attention": "se", "scheme": "0101"}, "has 4 bits but the network needs 9"),
        ({"arch": "resnet20", "scheme": "111111111"}, "attention is None"),
        ({"arch": "resnet20", "dilation": 3}, "has no options"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        create_model(**arguments)


@pytest.mark.gpu
@pytest.mark.parametrize("attention", list(ATTENTIONS))
def test_cuda_equals_cpu(attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    net = create_model("resnet29", attention=attention).eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        wanted = net(images)
        got = net.cuda()(images.cuda()).cpu()
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)
