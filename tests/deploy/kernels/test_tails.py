"""Networks whose blocks are closed by the kernels against themselves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import nn

from ean_core.networks import StagedNetwork
from tests.helpers.tiny_networks import difference, images, trained
from tests.helpers.triton_interpreter import interpreted

pytest.importorskip("triton")


def test_a_network_that_is_not_folded_is_refused() -> None:
    from ean_core import EANError
    from ean_core.deploy.kernels import use_kernels

    with pytest.raises(EANError, match="fold_batch_norm first"):
        use_kernels(trained("resnet29", "se"))


def check_network(network: StagedNetwork) -> StagedNetwork:
    """Folded and with the kernels it gives the same logits; returns that network."""
    from ean_core.deploy.fold import fold_batch_norm, in_channels_last
    from ean_core.deploy.kernels import use_kernels

    x = images(network, size=8)
    folded = fold_batch_norm(network)
    use_kernels(folded)
    with torch.inference_mode():
        assert difference(network(x), in_channels_last(folded)(x)) < 1e-4
    return folded


def test_a_network_with_kernels_equals_itself() -> None:
    interpreted("from tests.deploy.kernels.test_tails import check_networks; check_networks()")


def check_networks() -> None:
    """All three attentions, and two of another's own, here and there.

    One makes its mask of means and remembers it; a subclass of SE, which has a kernel, computes something else.
    """
    from ean_core.attention import SqueezeExcitation, register
    from ean_core.attention.base import ChannelAttention

    @register("root")
    class Root(ChannelAttention):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def mask_of(self, pooled: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
            mask = (pooled.abs() + (0 if state is None else state[0])).sqrt()
            return mask, (mask, mask)

    @register("half-se")
    class Half(SqueezeExcitation):
        def mask(self, residual: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
            mask, state = super().mask(residual, state)
            return mask / 2, state

    for arch, attention in product(("resnet20", "resnet29"), ("se", "sge", "dia", "root", "half-se")):
        network = trained(arch, attention, scheme="010 | 000 | 011")
        check_network(network)


@pytest.mark.parametrize(
    ("attention", "kernels"),
    [
        ("se", {"channel_means": 5, "excite": 5, "scale_add_relu": 5}),
        ("dia", {"channel_means": 5, "cell": 5, "scale_add_relu": 5}),
        ("sge", {"group_enhance": 5}),
    ],
)
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize(("arch", "activated"), [("resnet20", 1 + 9), ("resnet29", 1 + 2 * 9)])
def test_every_block_runs_through_the_kernels(
    arch: str, activated: int, small: bool, attention: str, kernels: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the references in their place; biases that a convolution added would be another pass on a GPU."""
    from ean_core.deploy.kernels import reference, triton_kernels

    if not small:  # SE's layers are beyond the kernel that takes both
        monkeypatch.setattr(triton_kernels, "excites", lambda *_: False)
        kernels = {name: count for name, count in kernels.items() if name != "excite"}
    called: dict[str, int] = {}
    biased: list[int] = []  # kernel sizes of the convolutions that add a bias themselves
    real = torch.nn.functional.conv2d
    monkeypatch.setattr(
        torch.nn.functional,
        "conv2d",
        lambda x, w, bias=None, *rest: (
            (biased.append(w.shape[2]) if bias is not None else None) or real(x, w, bias, *rest)
        ),
    )

    def counting(name: str) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            called[name] = called.get(name, 0) + 1
            return getattr(reference, name)(*arguments)

        return run

    for name in ("channel_means", "excite", "cell", "scale_add_relu", "group_enhance", "add_relu", "bias_relu"):
        monkeypatch.setattr(triton_kernels, name, counting(name))
    network = trained(arch, attention, scheme="101 | 001 | 110")  # a state passes a block that is not connected
    folded = check_network(network)
    assert not any(module.training for module in folded.modules())
    assert called == {**kernels, "add_relu": 4, "bias_relu": activated}
    # The projections, and the last convolutions of basic blocks.
    assert sorted(biased) == ([1] * 3 if arch == "resnet29" else [1] * 2 + [3] * 9)


def own_activation(network: StagedNetwork) -> None:
    network.stages[0].blocks[1].relu = nn.SiLU().eval()


def own_norm_inside(network: StagedNetwork) -> None:
    block = network.stages[0].blocks[1]
    block.conv1.bias, block.bn1 = nn.Parameter(torch.ones(16)), nn.GroupNorm(4, 16).eval()


def own_norm_at_the_end(network: StagedNetwork) -> None:
    network.stages[0].blocks[1].bn3 = nn.GroupNorm(4, 64).eval()


@pytest.mark.parametrize("change", [own_activation, own_norm_inside, own_norm_at_the_end])
def test_blocks_of_ones_own_keep_their_way(
    change: Callable[[StagedNetwork], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ean_core.deploy.kernels import reference, triton_kernels

    for name in ("channel_means", "excite", "scale_add_relu", "add_relu", "bias_relu"):
        monkeypatch.setattr(triton_kernels, name, getattr(reference, name))
    network = trained("resnet29", "se", scheme="101 | 001 | 110")
    change(network)
    check_network(network)


@pytest.mark.parametrize("arch", ["resnet20", "resnet29"])
def test_blocks_that_are_not_connected_keep_their_mean_masks(arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ean_core.deploy.fold import fold_batch_norm, in_channels_last
    from ean_core.deploy.kernels import reference, triton_kernels, use_kernels

    for name in ("channel_means", "excite", "scale_add_relu", "bias_relu"):
        monkeypatch.setattr(triton_kernels, name, getattr(reference, name))
    network = trained(arch, "se", scheme="101 | 001 | 110")
    network.keep_mean_masks()
    for stage in network.stages:
        stage.mean_masks.masks.uniform_(0.2, 0.9)
    network.eval()
    folded = fold_batch_norm(network, prune=False)
    use_kernels(folded)
    x = images(network, size=8)
    with torch.inference_mode():
        assert difference(network(x), in_channels_last(folded)(x)) < 1e-4
