"""Every faster form computes what the network computes."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
import torch
from torch import nn

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS, Attention, SpatialGroupEnhance
from ean_core.compiled import SettingUnavailable, captured, compile_network, compile_now, compile_steps
from ean_core.fold import fold_batch_norm, in_channels_last
from ean_core.forms import SETTINGS, Setting, allowed_difference, compare_settings, fast_form
from ean_core.networks import ARCHITECTURES, StagedNetwork, input_shape

CUDA = torch.cuda.is_available()
FAST = ("eager", "channels_last", "folded", "bf16")
COMPILED = ("compiled", "compiled_bf16")
CUDA_ONLY = ("max_autotune", "cuda_graph", "fused", "fused_bf16")
# basic and bottleneck blocks, CIFAR and ImageNet stems, convolutions with and without bias
FAMILIES = ("resnet20", "resnet29", "resnet18", "resnet18_nobias", "resnet50", "resnet50_nobias")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small layers gain nothing from threads, and on a busy machine the threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(
    arch: str, attention: str | None = None, *, sharing: str = "stage", scheme: str | None = None
) -> StagedNetwork:
    """A network in eval mode whose batch norms and biases are not at their initial values; ImageNet's are thinner."""
    thin = {} if "cifar" in ARCHITECTURES[arch]["stem"] else {"widths": (64, 64, 64, 64)}
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    with patch.dict(ARCHITECTURES, {arch: ARCHITECTURES[arch] | thin}):
        network = create_model(arch, num_classes=7, attention=attention, sharing=sharing, scheme=scheme)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.4, 0.8, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 0.3, generator=generator)
        elif isinstance(module, SpatialGroupEnhance):  # its weights start at zero: a mask that is the same everywhere
            module.weight.data.normal_(0, 1, generator=generator)
    return network.eval()


def images(network: StagedNetwork, *, size: int, device: str = "cpu") -> torch.Tensor:
    shape = input_shape(network, size=size)
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)).to(device)


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference, relative to the largest magnitude."""
    return ((one - other).abs().max() / one.abs().max()).item()


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("arch", FAMILIES)
def test_folding_keeps_the_function(arch: str, attention: str | None) -> None:
    network = trained(arch, attention)
    x = images(network, size=8 if network.stem_kind == "cifar" else 32)
    with torch.inference_mode():
        expected, got = network(x), fold_batch_norm(network)(x)
    assert expected.std() > 0
    assert difference(expected, got) < 1e-4


def test_the_families_are_all_there_are() -> None:
    def family(arch: str) -> tuple:
        layout = ARCHITECTURES[arch]
        return layout["block"], layout["stem"], layout.get("conv_bias", False)

    assert {family(arch) for arch in ARCHITECTURES} == {family(arch) for arch in FAMILIES}


@pytest.mark.parametrize("arch", FAMILIES)
def test_no_batch_norm_is_left_and_every_convolution_has_a_bias(arch: str) -> None:
    network = trained(arch)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert all(module.bias is not None for module in folded.modules() if isinstance(module, nn.Conv2d))
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_folding_keeps_scheme_and_connected_attention_and_prunes_the_rest(sharing: str) -> None:
    network = trained("resnet20", "se", sharing=sharing, scheme="010 | 000 | 011")
    folded = fold_batch_norm(network)
    assert folded.scheme == network.scheme
    assert folded.stages[1].attention is None
    kept = [name for name in folded.state_dict() if ".attention." in name]
    assert sum(name.endswith("squeeze.weight") for name in kept) == (2 if sharing == "stage" else 3)
    assert all(torch.equal(folded.state_dict()[name], network.state_dict()[name]) for name in kept)
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), folded(x)) < 1e-4


def test_folding_refuses_training_mode_anywhere() -> None:
    with pytest.raises(EANError, match="eval"):
        fold_batch_norm(create_model("resnet20"))
    network = trained("resnet20")
    network.bn1.train()
    with pytest.raises(EANError, match="eval"):
        fold_batch_norm(network)


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("setting", FAST)
def test_settings_equal_eager(setting: str, attention: str | None) -> None:
    network = trained("resnet29", attention, scheme=attention and "101 | 000 | 011").train()
    x = images(network, size=8)
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        assert difference(network.eval()(x), form(x)) <= SETTINGS[setting].tolerance


def test_settings_leave_the_network_alone() -> None:
    network = create_model("resnet20", attention="se")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for setting in FAST:
        with torch.inference_mode():
            SETTINGS[setting].build(network, images(network, size=8))(images(network, size=8))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.layer2.get_submodule("0").conv2.weight.is_contiguous()


def test_settings_are_what_they_say() -> None:
    """Layout and type of the images inside, whether batch norm is there, layout of the weights."""
    network, seen = trained("resnet20"), {}
    for setting in FAST:
        network.layer2.register_forward_pre_hook(
            lambda module, inputs: seen.update(
                now=(
                    inputs[0].is_contiguous(memory_format=torch.channels_last),
                    inputs[0].dtype,
                    any(isinstance(part, nn.BatchNorm2d) for part in module.modules()),
                    module.get_submodule("0").conv2.weight.is_contiguous(memory_format=torch.channels_last),
                )
            )
        )
        with torch.inference_mode():
            SETTINGS[setting].build(network, images(network, size=8))(images(network, size=8))
        seen[setting] = seen["now"]
    assert seen["eager"] == (False, torch.float32, True, False)
    assert seen["channels_last"] == (True, torch.float32, True, True)
    assert seen["folded"] == (True, torch.float32, False, True)
    assert seen["bf16"] == (True, torch.bfloat16, False, True)


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("setting", COMPILED)
def test_compiled_equals_eager(setting: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler is given, without the minutes that it takes to make machine code of it."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend="eager", fullgraph=True, dynamic=False))
    network = trained("resnet29", attention, scheme=attention and "110 | 000 | 011")
    x = images(network, size=8)
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        assert difference(network(x), form(x)) <= SETTINGS[setting].tolerance


def test_the_compiler_is_given_means_over_the_narrow_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a 1x1 convolution takes has a quarter of the channels of what it gives; means pass through it."""
    channels = []

    def backend(graph, inputs):
        channels.extend(n.args[0].meta["example_value"].shape[1] for n in graph.graph.nodes if n.target == "mean")
        return graph.forward

    network = fold_batch_norm(trained("resnet29", "se", scheme="110 | 000 | 011"))
    x = images(network, size=8)
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend=backend, dynamic=False))
    with torch.inference_mode():
        compile_network(network, x)
    assert channels == [16, 16, 64, 64, 256]  # the last: before the classifier


def test_an_attention_that_needs_python_is_compiled_around(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asks(Attention):
        def mask(self, residual: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
            return residual.new_full((1, 1, 1, 1), 0.5 if residual.mean().item() > 0 else 0.25), state

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, backend="eager", **options))
    network = trained("resnet20", "se")
    for stage in network.stages:
        stage.attention = Asks().eval()
    x = images(network, size=8)
    form = compile_network(fold_batch_norm(network), x)
    with torch.inference_mode():
        assert difference(network(x), form(x)) < 1e-4


@pytest.mark.slow
def test_machine_code_equals_eager() -> None:
    network = trained("resnet20", "sge", scheme="010 | 000 | 000")
    x = images(network, size=8)
    folded = fold_batch_norm(network)
    form = compile_network(folded, x)
    with torch.inference_mode():
        assert difference(network(x), form(x)) <= SETTINGS["compiled"].tolerance
        folded.fc.weight.zero_()
        assert difference(network(x), form(x)) <= SETTINGS["compiled"].tolerance  # its weights are packed already


@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_stages_in_place_equal_stages_that_are_not(sharing: str, attention: str | None) -> None:
    if attention is None and sharing == "block":
        pytest.skip("nothing to share")
    folded = fold_batch_norm(trained("resnet29", attention, sharing=sharing))
    plain = fold_batch_norm(trained("resnet29", attention, sharing=sharing))
    assert all(stage.in_place for stage in folded.stages)
    for stage in plain.stages:
        stage.in_place = False
    for layout in (torch.contiguous_format, torch.channels_last):
        x = images(folded, size=8).contiguous(memory_format=layout)
        kept = x.clone()
        with torch.inference_mode():
            assert difference(plain(x), folded(x)) < 1e-5
        assert torch.equal(x, kept)
        assert difference(plain(x), folded(x)) < 1e-5  # with gradients, where nothing may be overwritten
    folded(x).sum().backward()


def test_an_attention_of_ones_own_works_in_place() -> None:
    class Own(Attention):
        def forward(self, residual: torch.Tensor, state: object = None) -> tuple[torch.Tensor, object]:
            return residual + 1, state

    residual, shortcut = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    out, state = Own().merge(residual.clone(), shortcut)
    assert torch.equal(out, (residual + 1 + shortcut).relu())
    assert state is None


def test_schemes_share_the_compiled_blocks() -> None:
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    network = fold_batch_norm(trained("resnet29", "se"), prune=False)
    x = images(network, size=8)
    real = torch.compile
    with pytest.MonkeyPatch.context() as patched, torch.inference_mode():
        patched.setattr(torch, "compile", lambda f, *, dynamic: real(f, backend=backend, dynamic=dynamic))
        compile_steps(network)
        for bits in ("110011010", "001100101"):
            network.set_scheme(bits)
            network(x)
        ready = len(graphs)
        assert ready <= 12  # 3 stages; a stage's first block and the others; connected and not
        for bits in ("111111111", "000000000", "010101010"):
            network.set_scheme(bits)
            network(x)
    assert len(graphs) == ready


def test_many_networks_can_be_compiled_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than the compiler keeps per function (8), each still compiled when it is called again."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, *, mode, **rest: real(f, backend=backend, **rest))
    x = torch.randn(1, 3, 2, 2)
    modules = [nn.Conv2d(3, outputs, 1).eval() for outputs in range(1, 12)]
    with torch.inference_mode():
        forms = [compile_now(in_channels_last(module), x, mode="default") for module in modules]
        for form, module in zip(forms, modules, strict=True):
            assert torch.allclose(form(x), module(x), atol=1e-6)
    assert len(graphs) == len(modules)


@pytest.mark.gpu
@pytest.mark.skipif(not CUDA, reason="needs CUDA")
@pytest.mark.parametrize("attention", [None, *ATTENTIONS])
@pytest.mark.parametrize("setting", ["cuda_graph", "fused", "fused_bf16"])
def test_cuda_graph_equals_eager(setting: str, attention: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network = trained("resnet29", attention).to("cuda")
    x = images(network, size=8, device="cuda")
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        for factor in (1.0, -2.0):  # a second input: the graph must read what it is given
            assert difference(network(factor * x), form(factor * x)) <= SETTINGS[setting].tolerance


def test_the_graph_takes_its_own_shape_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, with everything of CUDA replaced by nothing: what surrounds the graph."""
    from unittest.mock import MagicMock

    monkeypatch.setattr(torch, "cuda", MagicMock())
    x = torch.ones(2, 3)
    form = captured(lambda images: images * 2, x)
    form(torch.full((2, 3), 5.0))
    torch.cuda.CUDAGraph().replay.assert_called_once()
    with pytest.raises(EANError, match=r"captured for \(2, 3\), got \(1, 3\)"):
        form(torch.ones(1, 3))


def test_what_float32_may_differ_by_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert allowed_difference("folded", gpu) == pytest.approx(0.1 / 8)
    assert allowed_difference("bf16", gpu) == SETTINGS["bf16"].tolerance
    assert allowed_difference("folded", cpu) == SETTINGS["folded"].tolerance
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert allowed_difference("folded", gpu) == SETTINGS["folded"].tolerance


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not CUDA, reason="needs CUDA")
@pytest.mark.parametrize("setting", ["compiled", "max_autotune"])
def test_compiled_on_cuda_equals_eager(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    network = trained("resnet20", "se").to("cuda")
    x = images(network, size=8, device="cuda")
    form = SETTINGS[setting].build(network, x)
    with torch.inference_mode():
        assert difference(network(x), form(x)) <= SETTINGS[setting].tolerance


def test_every_setting_has_its_equality_test() -> None:
    assert set(SETTINGS) == {*FAST, *COMPILED, *CUDA_ONLY}


def test_a_setting_that_cannot_run_is_skipped_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = {"Org": trained("resnet20"), "Share-full": trained("resnet20", "se")}
    x = images(networks["Org"], size=8)
    calls = []
    results, skipped = compare_settings(networks, x, ["cuda_graph", "eager"], rounds=2, after_round=calls.append)
    assert skipped == {"cuda_graph": "cuda_graph needs a CUDA device, and this runs on cpu"}
    assert list(results) == ["eager"]
    assert calls == ["eager", "eager"]
    assert results["eager"]["Share-full"].increment is not None

    def broken(*inputs):
        raise RuntimeError("no compiler\nlong story")

    monkeypatch.setattr(torch, "compile", lambda form, **options: broken)
    with pytest.raises(SettingUnavailable, match=r"does not work here \(no compiler\)$"):
        SETTINGS["compiled"].build(networks["Org"], x)


def test_a_fast_form_predicts_without_gradients_and_leaves_the_network() -> None:
    network = trained("resnet20", "se")
    x = images(network, size=8)
    form = fast_form(network, x, "folded")
    logits = form(x)
    assert not logits.requires_grad
    assert difference(network(x).detach(), logits) < 1e-4
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    network.fc.weight.data.zero_()
    assert torch.equal(form(x), logits)
    with pytest.raises(EANError, match="did you mean 'folded'"):
        fast_form(network, x, "foldet")


def test_what_a_fast_form_gives_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CUDA graph does with its output."""
    output = torch.zeros(2, 3)
    monkeypatch.setitem(SETTINGS, "folded", Setting(lambda *_: lambda images: output.copy_(images), 0.0))
    form = fast_form(trained("resnet20"), output, "folded")
    first = form(torch.ones(2, 3))
    form(torch.zeros(2, 3))
    assert torch.equal(first, torch.ones(2, 3))


def test_unknown_setting() -> None:
    with pytest.raises(EANError, match="did you mean 'folded'"):
        compare_settings({"Org": trained("resnet20")}, torch.zeros(1, 3, 8, 8), ["foldet"], rounds=1)
