"""Networks through torch.compile and in CUDA graphs: what has to be known for it to work, and to stay worth it."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.attention import Attention, State
from ean_core.deploy.channel_order import interleave_stages
from ean_core.deploy.fold import Form, in_channels_last
from ean_core.networks import StagedNetwork
from ean_core.networks.stage import Stage
from ean_core.utils.cuda_graph import CaptureFailed, capture
from ean_core.utils.errors import EANError


class SettingUnavailable(EANError):
    """This machine cannot run a setting; the message says why."""


def compile_steps(network: StagedNetwork) -> None:
    """Let the stages run their blocks through torch.compile, in place.

    A block is compiled once connected and once not, so that every scheme runs on what is there already; blocks of one
    shape share their code. The compiler works when a block is first run.
    """
    for stage in network.stages:
        stage.step = compiled_step(stage)


def compiled_step(stage: Stage) -> Callable[..., tuple[Tensor, State]]:
    """The stage's `step` in two compiled versions, connected and not: neither meets more cases than are kept."""
    connected, alone = (
        torch.compile(types.MethodType(own_copy(type(stage).step), stage), dynamic=False) for _ in range(2)
    )

    def step(block: nn.Module, attention: Attention | None, x: Tensor, state: State) -> tuple[Tensor, State]:
        if attention is None:
            return alone(block, None, x, None)[0], state
        return connected(block, attention, x, state)

    return step


def compile_now(form: Form, batch: Tensor, *, fullgraph: bool = True, **options: object) -> Form:
    """`torch.compile` for this batch shape, done before returning, so that a failure shows here and not in a timing.

    Args:
        form: images -> logits.
        batch: images (B, C, H, W).
        fullgraph: refuse what cannot be one program; False leaves Python between its parts.
        options: of `torch.compile`.

    Raises:
        SettingUnavailable: if the compiler does not work on this machine.
    """
    result = torch.compile(own_copy(form), fullgraph=fullgraph, dynamic=False, **options)
    run_once(result, batch)
    return result


def compile_network(network: StagedNetwork, batch: Tensor) -> Form:
    """A folded network, in place, in channels-last layout, in the compiled form that is the fastest on this device.

    On a CPU it is one program, in which no Python runs between the layers, with its weights packed for the convolutions
    ("frozen": changing them later has no effect). On a GPU a graph keeps the processor from launching a block after
    another, and blocks that share their code compile sooner.

    Raises:
        SettingUnavailable: if the compiler does not work on this machine.
    """
    if batch.device.type == "cpu":
        from torch._inductor import config as inductor  # takes a second to import

        interleave_stages(network)
        # It looks for CUDA where none is wanted, and warns that there is none.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        # For the whole compiler: freezing as an option of torch.compile comes too late to have any effect.
        with inductor.patch(freezing=True, cpp_wrapper=True):
            return compile_frozen(in_channels_last(network), batch)
    form = compile_blocks(network, batch)
    return captured(form, batch) if batch.device.type == "cuda" else form


def compile_frozen(form: Form, batch: Tensor) -> Form:
    """As `compile_now`, for a form whose weights will not change.

    Before every call the compiler makes sure, module by module, that nothing has changed of what it saw, which for a
    single image takes a part of the time that can be measured. Here it looks at the images and at PyTorch's own state
    (such as autocast) only; at everything if an attention needs Python in the middle, on which the rest may depend.
    """
    filters = hasattr(torch.compiler, "keep_tensor_guards_unsafe")  # older releases have no such option
    try:
        return compile_now(form, batch, options={"guard_filter_fn": about_the_call} if filters else None)
    except SettingUnavailable:
        return compile_now(form, batch, fullgraph=False)


def about_the_call(guards: Sequence[Any]) -> list[bool]:
    """Which of the compiler's checks are of the images, or of PyTorch's own state, which has no name."""
    images = [one.guard_type == "TENSOR_MATCH" and not isinstance(one.value, nn.Parameter) for one in guards]
    return [image or not one.name for image, one in zip(images, guards, strict=True)]


def compile_blocks(network: StagedNetwork, batch: Tensor) -> Form:
    """A folded network, in place, with compiled blocks in channels-last layout; compiled before returning.

    Raises:
        SettingUnavailable: if the compiler does not work on this machine.
    """
    form = in_channels_last(network)
    compile_steps(network)
    run_once(form, batch)
    return form


def run_once(form: Form, batch: Tensor) -> None:
    """Let the compiler do its work now.

    Raises:
        SettingUnavailable: if it fails.
    """
    try:
        with torch.inference_mode():
            form(batch)
    except (RuntimeError, OSError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SettingUnavailable(f"torch.compile does not work here ({first})") from error


def own_copy(function: types.FunctionType) -> types.FunctionType:
    """The function with a code object of its own.

    The compiler keeps its results per code object and gives up, silently eager or with an error, after eight of them.
    """
    return types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def captured(form: Form, batch: Tensor) -> Form:
    """A form in a CUDA graph.

    The result takes images of the batch's shape only (`EANError` for others), and its output is overwritten by the
    next call.

    Raises:
        SettingUnavailable: if the form cannot be captured.
    """
    with torch.inference_mode(), torch.cuda.device(batch.device):
        images = batch.clone()
        try:
            run = capture(lambda: form(images))
        except CaptureFailed as reason:
            raise SettingUnavailable(f"{reason}; 'folded' needs no graph") from reason

    @torch.inference_mode()  # outside of it, what was made inside cannot be written to
    def replay(new_images: Tensor) -> Tensor:
        if new_images.shape != images.shape:  # a single image would be copied to all places
            raise EANError(f"the graph was captured for {tuple(images.shape)}, got {tuple(new_images.shape)}")
        images.copy_(new_images)
        return run()

    replay.form = form  # the graph reads the weights where they are, and does not keep them
    return replay
