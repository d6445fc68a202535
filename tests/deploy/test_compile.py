"""What the compiler and a CUDA graph are given, and what comes of it."""

from __future__ import annotations

import gc
import weakref
from unittest.mock import MagicMock

import pytest
import torch
from torch import nn

from ean_core import EANError
from ean_core.attention import Attention
from ean_core.deploy import fused_attention
from ean_core.deploy.compile import captured, compile_frozen, compile_network, compile_now, compile_stages
from ean_core.deploy.fold import fold_batch_norm, in_channels_last
from ean_core.deploy.modes import MODES
from tests.helpers.tiny_networks import SHORT, difference, images, trained


def test_the_compiler_is_given_means_over_the_hidden_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """The input of a 1x1 convolution has a quarter of the channels of its output; means pass through it."""
    channels = []

    def backend(graph, inputs):
        channels.extend(n.args[0].meta["example_value"].shape[1] for n in graph.graph.nodes if n.target == "mean")
        return graph.forward

    network = fold_batch_norm(trained("short29", "se", scheme="110 | 0 | 1"))
    x = images(network, size=8)
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend=backend, dynamic=False))
    with torch.inference_mode():
        compile_network(network, x)
    assert channels == [16, 16, 64, 256]  # the last: before the classifier


@pytest.mark.parametrize("attention", ["se", "dia"])
def test_blocks_read_the_weights_that_they_share_and_no_copies(attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler packs the weights of every `linear` it meets; for one image the shared ones are written out."""
    met: list[object] = []

    def backend(graph, inputs):
        met.append([n.args[1] for n in graph.graph.nodes if n.target is torch.nn.functional.linear])
        return graph.forward

    network = trained("short29", attention)
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, backend=backend, dynamic=False))
    for count in (1, 2):
        x = images(network, size=8)[:1].expand(count, -1, -1, -1)
        with torch.inference_mode():
            compiled = compile_network(fold_batch_norm(network), x)
            assert difference(network(x), compiled(x)) < 1e-4
    one, several = met
    assert len(one) == len(set(one)) == sum(SHORT) + 1  # a block's own layer, and the classifier
    assert len(several) > len(set(several))
    monkeypatch.setattr(fused_attention, "CACHE_BYTES", 100)  # larger layers are left to the compiler's product
    with torch.inference_mode():
        compile_network(fold_batch_norm(network), x[:1])
    assert len(met[2]) > len(set(met[2]))


def test_an_attention_that_needs_python_is_compiled_around(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asks(Attention):
        def mask(self, residual: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
            return residual.new_full((1, 1, 1, 1), 0.5 if residual.mean().item() > 0 else 0.25), state

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, backend="eager", **options))
    network = trained("short20", "se")
    for stage in network.stages:
        stage.attention = Asks().eval()
    x = images(network, size=8)
    compiled = compile_network(fold_batch_norm(network), x)
    with torch.inference_mode():
        for images_now in (x, -x, 3 - x):  # masks of one half and of a quarter
            assert difference(network(images_now), compiled(images_now)) < 1e-4


def test_before_a_call_of_a_frozen_network_only_the_images_and_the_mode_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, **{"backend": "eager", **options}))
    module = nn.Linear(3, 2).eval()
    module.shift = 1.0
    x = torch.randn(4, 3)
    compiled = compile_frozen(lambda images: module(images) + module.shift, x)
    with torch.inference_mode():
        wanted = module(x) + 1
        assert torch.equal(compiled(x), wanted)
        module.shift = 2.0  # its modules are not looked at again
        assert torch.equal(compiled(x), wanted)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert compiled(x).dtype == torch.bfloat16
        assert torch.equal(compiled(x[:2]), module(x[:2]) + 2)  # made anew for another shape


@pytest.mark.slow
def test_machine_code_equals_eager() -> None:
    network = trained("short20", "sge", scheme="010 | 0 | 0")
    x = images(network, size=8)
    folded = fold_batch_norm(network)
    compiled = compile_network(folded, x)
    with torch.inference_mode():
        assert difference(network(x), compiled(x)) <= MODES["compiled"].tolerance
        folded.fc.weight.zero_()
        assert difference(network(x), compiled(x)) <= MODES["compiled"].tolerance  # its weights are packed already


def test_schemes_share_the_compiled_blocks() -> None:
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    network = fold_batch_norm(trained("short29", "se"), prune=False)
    x = images(network, size=8)
    real = torch.compile
    with pytest.MonkeyPatch.context() as patched, torch.inference_mode():
        patched.setattr(torch, "compile", lambda f, *, dynamic: real(f, backend=backend, dynamic=dynamic))
        compile_stages(network)
        for bits in ("11001", "00110"):
            network.set_scheme(bits)
            network(x)
        ready = len(graphs)
        assert ready <= 8  # first blocks of three stages, and the others of one; connected and not
        for bits in ("11111", "00000", "01010"):
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
        networks = [compile_now(in_channels_last(module), x, mode="default") for module in modules]
        for compiled, module in zip(networks, modules, strict=True):
            assert torch.allclose(compiled(x), module(x), atol=1e-6)
    assert len(graphs) == len(modules)


def test_the_graph_takes_its_own_shape_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, with everything of CUDA replaced by nothing: what surrounds the graph."""
    monkeypatch.setattr(torch, "cuda", MagicMock())
    x = torch.ones(2, 3)
    graph = captured(lambda images: images * 2, x)
    graph(torch.full((2, 3), 5.0))
    torch.cuda.CUDAGraph().replay.assert_called_once()
    with pytest.raises(EANError, match=r"captured for \(2, 3\), got \(1, 3\)"):
        graph(torch.ones(1, 3))


def test_the_graph_keeps_the_weights_that_it_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is given back is used for something else, and a graph goes on reading it."""
    monkeypatch.setattr(torch, "cuda", MagicMock())
    network = trained("resnet20", "se")
    x = images(network, size=8)
    weights = weakref.ref(network.fc.weight)
    graph = captured(in_channels_last(network), x)
    del network
    gc.collect()
    assert weights() is not None
    del graph
    gc.collect()
    assert weights() is None
