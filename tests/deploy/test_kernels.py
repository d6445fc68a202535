"""The Triton kernels against what they are to compute: on a CPU through Triton's interpreter, and on a GPU."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import nn

from ean_core.networks import StagedNetwork
from tests.helpers.processes import environment
from tests.helpers.tiny_networks import difference, images, trained

pytest.importorskip("triton")


def interpreted(code: str) -> None:
    """Run Python in a process whose Triton interprets; it must be told before the kernels are defined."""
    command, variables = [sys.executable, "-c", code], environment(TRITON_INTERPRET="1")
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240)
    if "only 0-dimensional arrays can be converted" in done.stderr:  # Triton 3.6 with NumPy 2.4
        pytest.skip("the interpreter of this Triton cannot run loops with this NumPy")
    assert done.returncode == 0, done.stderr


def test_kernels_equal_their_plain_forms() -> None:
    interpreted("from tests.deploy.test_kernels import check_all; check_all('cpu')")


@pytest.mark.gpu
def test_kernels_equal_their_plain_forms_on_a_gpu() -> None:
    check_all("cuda")


def check_all(device: str) -> None:
    """Every kernel on maps whose sides are no powers of two, a single position, and groups of odd size."""
    from ean_core.deploy.kernels import reference, triton_kernels

    generator = torch.Generator().manual_seed(0)
    cases = [
        (batch, channels, height, width, groups, dtype)
        for batch, channels, height, width, groups in ((2, 24, 7, 5, 8), (1, 72, 1, 1, 8), (2, 64, 9, 9, 8))
        for dtype in (torch.float32, torch.bfloat16)
    ]
    for batch, channels, height, width, groups, dtype in cases:

        def features(shape: tuple[int, ...] = (batch, channels, height, width), dtype: torch.dtype = dtype):
            one = torch.randn(shape, generator=generator).to(dtype).to(device)
            return one.contiguous(memory_format=torch.channels_last)

        residual, shortcut = features(), features()
        mask = torch.rand(batch, channels, generator=generator).to(dtype).to(device)
        weight, bias = (torch.randn(groups, generator=generator).to(device) for _ in range(2))
        before = torch.randn(channels, generator=generator).to(dtype).to(device)
        for name, arguments in (
            ("channel_means", ()),
            ("bias_relu", (before,)),
            ("add_relu", (shortcut,)),
            ("add_relu", (shortcut, before)),
            ("scale_add_relu", (mask, shortcut)),
            ("scale_add_relu", (mask, shortcut, before)),
            ("scale_add_relu", (mask[:1], shortcut)),  # of an attention that does not look at the images,
            ("scale_add_relu", (mask[:, :1], shortcut)),  # and of one that does not tell the channels apart
            ("group_enhance", (shortcut, weight, bias, 1e-5)),
            ("group_enhance", (shortcut, weight, bias, 1e-5, before)),
        ):
            wanted = getattr(reference, name)(residual, *arguments)
            got = getattr(triton_kernels, name)(residual.clone(memory_format=torch.channels_last), *arguments)
            near = 1e-4 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(got, wanted, rtol=near, atol=near, msg=lambda text, name=name: f"{name}: {text}")
        check_small(batch, channels, dtype, device, generator)
    check_refusal(residual, triton_kernels)
    check_nan(residual, triton_kernels)


def check_small(batch: int, channels: int, dtype: torch.dtype, device: str, generator: torch.Generator) -> None:
    """What is done with (B, C): SE's two layers, also of a single hidden unit, and DIA's cell."""
    from ean_core.deploy.kernels import reference, triton_kernels

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype).to(device)

    for hidden, inputs in ((1, channels), (5, channels), (5, channels // 4)):
        layers = (draw(hidden, inputs), draw(hidden), draw(channels, hidden), draw(channels))
        pooled = draw(batch, inputs).float()
        got, wanted = triton_kernels.excite(pooled, *layers), reference.excite(pooled, *layers)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert triton_kernels.excites(torch.empty(16, 256), torch.empty(256, 16))
    assert not triton_kernels.excites(torch.empty(128, 512), torch.empty(2048, 128))
    assert not triton_kernels.excites(torch.empty(16, 2048), torch.empty(512, 16))
    gates, cell, more = draw(batch, 4 * channels), draw(batch, channels), draw(batch, 4 * channels)
    near = 1e-4 if dtype == torch.float32 else 2e-2
    for given in ((gates, cell), (gates, cell, more)):
        for got, wanted in zip(triton_kernels.cell(*given), reference.cell(*given), strict=True):
            torch.testing.assert_close(got, wanted, rtol=near, atol=near)


def check_nan(features: torch.Tensor, kernels: object) -> None:
    """As PyTorch's ReLU, the kernels' keeps what is not a number."""
    features[0, 0] = float("nan")
    assert kernels.add_relu(features, torch.ones_like(features))[0, 0].isnan().all()


def check_refusal(features: torch.Tensor, kernels: object) -> None:
    """Another layout is refused, not misread."""
    from ean_core import EANError

    with pytest.raises(EANError, match="channels_last"):
        kernels.add_relu(features.contiguous(), features)


def test_a_network_that_is_not_folded_is_refused() -> None:
    from ean_core import EANError
    from ean_core.deploy.kernels import use_kernels

    with pytest.raises(EANError, match="fold_batch_norm first"):
        use_kernels(trained("resnet29", "se"))


def test_gradients_are_refused_and_not_wrong() -> None:
    from ean_core import EANError
    from ean_core.deploy.kernels import triton_kernels

    x = torch.randn(2, 8, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    bias, groups = torch.zeros(8), torch.zeros(2)
    for call in (
        lambda: triton_kernels.bias_relu(x, bias),
        lambda: triton_kernels.add_relu(x, x),
        lambda: triton_kernels.scale_add_relu(x, torch.ones(2, 8), x),
        lambda: triton_kernels.channel_means(x),
        lambda: triton_kernels.group_enhance(x, x, groups, groups, 1e-5),
    ):
        with pytest.raises(EANError, match="no gradients"):
            call()


POINTERS = {
    "bias_relu_kernel": ("features", "bias"),
    "add_relu_kernel": ("residual", "shortcut", "bias"),
    "scale_add_relu_kernel": ("residual", "mask", "shortcut", "bias"),
    "channel_means_kernel": ("features", "out"),
    "excite_kernel": ("pooled", "squeeze", "squeeze_bias", "excite", "excite_bias", "out"),
    "cell_kernel": ("gates", "more", "cell", "out", "out_cell"),
    "group_enhance_kernel": ("residual", "shortcut", "weight", "bias", "before"),
}
SIZES = {"BLOCK": 1024, "PLACES": 256, "CHANNELS": 32, "INPUTS": 8, "HIDDEN": 16, "WIDTH": 8, "COLUMNS": 8}
SIZES |= {"BIASED": True, "BOTH": True}


compiling = pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="interpreted kernels are not compiled")


def compiled(kernel: str, *, ones: tuple[str, ...] = (), aligned: tuple[str, ...] = (), **sizes: int) -> dict:
    """The stages of a kernel on the way to machine code of compute capability 9.0 (H100, H200).

    Args:
        kernel: a key of `POINTERS`.
        ones: arguments that are 1, which Triton compiles as constants.
        aligned: arguments that are multiples of 16.
        sizes: in place of those of `SIZES`.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ean_core.deploy.kernels import triton_kernels

    function = getattr(triton_kernels, kernel)
    names = function.arg_names
    constants = {name: {**SIZES, **sizes}[name] for name in names if name.isupper()} | dict.fromkeys(ones, 1)
    types = dict.fromkeys(POINTERS[kernel], "*bf16") | {"eps": "fp32", "pooled": "*fp32"}
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    divisible = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned if name in names}
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=divisible)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm


@compiling
@pytest.mark.parametrize("parts", [True, False])
@pytest.mark.parametrize("kernel", POINTERS)
def test_kernels_compile_to_machine_code_without_a_gpu(kernel: str, parts: bool) -> None:
    """What the interpreter lets pass and the compiler does not; with a bias and both parts of the gates, or without."""
    assert compiled(kernel, BIASED=parts, BOTH=parts)["cubin"]


@compiling
def test_kernels_compile_where_a_size_is_one() -> None:
    """A map of one position, and SE with a single hidden unit."""
    assert compiled("channel_means_kernel", ones=("places",), PLACES=16)["cubin"]
    assert compiled("group_enhance_kernel", ones=("places", "spread_count"), PLACES=16)["cubin"]
    assert compiled("excite_kernel", ones=("hidden",), HIDDEN=1)["cubin"]


@compiling
@pytest.mark.parametrize("width", [4, 8, 32])
def test_groups_are_read_several_numbers_at_a_time(width: int) -> None:
    aligned = ("residual", "shortcut", "before", "channels")
    code = compiled("group_enhance_kernel", aligned=aligned, WIDTH=width, COLUMNS=width)["ptx"]
    loads = re.findall(r"ld\.global\S*", code)
    assert len([one for one in loads if ".v" not in one]) <= 2, loads  # the group's weight and bias


@compiling
@pytest.mark.parametrize("kernel", ["bias_relu_kernel", "add_relu_kernel", "scale_add_relu_kernel"])
def test_features_and_biases_are_read_sixteen_bytes_at_a_time(kernel: str) -> None:
    aligned = (*POINTERS[kernel], "count", "per_image", "channels")
    moves = re.findall(r"(?:ld|st)\.global\S*", compiled(kernel, aligned=aligned)["ptx"])
    assert set(moves) == {"ld.global.v4.b32", "st.global.v4.b32"}


def test_every_kernel_is_compiled_in_a_test() -> None:
    from ean_core.deploy.kernels import triton_kernels

    assert {name for name in vars(triton_kernels) if name.endswith("_kernel")} == set(POINTERS)


def check_network(network: StagedNetwork) -> StagedNetwork:
    """Folded and with the kernels it gives the same logits; that form of it."""
    from ean_core.deploy.fold import fold_batch_norm, in_channels_last
    from ean_core.deploy.kernels import use_kernels

    x = images(network, size=8)
    folded = fold_batch_norm(network)
    use_kernels(folded)
    with torch.inference_mode():
        assert difference(network(x), in_channels_last(folded)(x)) < 1e-4
    return folded


def test_a_network_with_kernels_equals_itself() -> None:
    interpreted("from tests.deploy.test_kernels import check_networks; check_networks()")


def check_networks() -> None:
    """All three attentions, and one of another's own that makes its mask of means and remembers it, here and there."""
    from ean_core.attention import register
    from ean_core.attention.base import ChannelAttention

    @register("root")
    class Root(ChannelAttention):
        def __init__(self, channels: int) -> None:
            super().__init__()

        def mask_of(self, pooled: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
            mask = (pooled.abs() + (0 if state is None else state[0])).sqrt()
            return mask, (mask, mask)

    for arch, attention in product(("resnet20", "resnet29"), ("se", "sge", "dia", "root")):
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
    """With their plain forms in their place; biases that a convolution added would be another pass on a GPU."""
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


def test_a_joined_form_of_ones_own_stays() -> None:
    from ean_core.deploy.fused_attention import Joined
    from ean_core.deploy.kernels.blocks import with_kernels

    class Other(Joined):
        def forward(self, narrow: torch.Tensor, shortcut: torch.Tensor, state: object = None) -> tuple:
            return shortcut, state

    form = Other(nn.Conv2d(4, 16, 1))
    assert with_kernels(form) is form


def test_a_subclass_that_computes_something_else_keeps_its_own_way() -> None:
    interpreted("from tests.deploy.test_kernels import check_subclass; check_subclass()")


def check_subclass() -> None:
    """Half the excitation, under a name of its own."""
    from ean_core.attention import SqueezeExcitation, register

    @register("half-se")
    class Half(SqueezeExcitation):
        def mask(self, residual: torch.Tensor, state: None) -> tuple[torch.Tensor, None]:
            mask, state = super().mask(residual, state)
            return mask / 2, state

    network = trained("resnet20", "half-se", scheme="010 | 000 | 011")
    check_network(network)


def test_the_plain_form_of_sge_is_the_module() -> None:
    from ean_core.attention import build_attention
    from ean_core.deploy.kernels import reference

    module = build_attention("sge", 16)
    torch.nn.init.normal_(module.weight)
    residual, shortcut = torch.randn(2, 16, 5, 3), torch.randn(2, 16, 5, 3)
    wanted = (module(residual)[0] + shortcut).relu()
    got = reference.group_enhance(residual, shortcut, module.weight, module.bias, module.eps)
    torch.testing.assert_close(got, wanted)
