"""The Triton kernels through Triton's compiler, which needs no GPU: what the interpreter lets pass and it does not."""

from __future__ import annotations

import os
import re

import pytest

pytest.importorskip("triton")

POINTERS = {
    "bias_relu_kernel": ("features", "bias"),
    "add_relu_kernel": ("residual", "shortcut", "bias"),
    "scale_add_relu_kernel": ("residual", "mask", "shortcut", "bias"),
    "channel_means_kernel": ("features", "out"),
    "excite_kernel": ("pooled", "squeeze", "squeeze_bias", "excite", "excite_bias", "out"),
    "cell_kernel": ("gates", "more", "cell", "out", "out_cell"),
    "group_enhance_kernel": ("residual", "shortcut", "weight", "bias", "before"),
}
SIZES = {"BLOCK": 1024, "POSITIONS": 256, "CHANNELS": 32, "INPUTS": 8, "HIDDEN": 16, "WIDTH": 8, "COLUMNS": 8}
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
    """With a bias and both parts of the gates, or without."""
    assert compiled(kernel, BIASED=parts, BOTH=parts)["cubin"]


@compiling
def test_kernels_compile_where_a_size_is_one() -> None:
    """A map of one position, and SE with a single hidden unit."""
    assert compiled("channel_means_kernel", ones=("positions",), POSITIONS=16)["cubin"]
    assert compiled("group_enhance_kernel", ones=("positions", "spread_count"), POSITIONS=16)["cubin"]
    assert compiled("excite_kernel", ones=("hidden",), HIDDEN=1)["cubin"]


@compiling
@pytest.mark.parametrize("width", [4, 8, 32])
def test_groups_are_read_several_numbers_at_a_time(width: int) -> None:
    aligned = ("residual", "shortcut", "before", "channels")
    code = compiled("group_enhance_kernel", aligned=aligned, WIDTH=width, COLUMNS=width)["ptx"]
    loads = re.findall(r"ld\.global\S*", code)
    assert len([load for load in loads if ".v" not in load]) <= 2, loads  # the group's weight and bias


@compiling
@pytest.mark.parametrize("kernel", ["bias_relu_kernel", "add_relu_kernel", "scale_add_relu_kernel"])
def test_features_and_biases_are_read_sixteen_bytes_at_a_time(kernel: str) -> None:
    aligned = (*POINTERS[kernel], "count", "per_image", "channels")
    moves = re.findall(r"(?:ld|st)\.global\S*", compiled(kernel, aligned=aligned)["ptx"])
    assert set(moves) == {"ld.global.v4.b32", "st.global.v4.b32"}


def test_every_kernel_is_compiled_in_a_test() -> None:
    from ean_core.deploy.kernels import triton_kernels

    assert {name for name in vars(triton_kernels) if name.endswith("_kernel")} == set(POINTERS)
