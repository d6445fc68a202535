"""Networks through torch.compile and in CUDA graphs: what has to be known for it to work, and to be worth it."""

from __future__ import annotations

import logging
import types
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ean_core.deploy.channel_order import interleave_stages
from ean_core.deploy.fold import InferenceFn, in_channels_last
from ean_core.deploy.inference_stage import InferenceStage, run_block
from ean_core.networks import StagedNetwork
from ean_core.utils.cuda_graph import CaptureFailed, capture
from ean_core.utils.errors import EANError


class ModeUnavailable(EANError):
    """This machine cannot run a mode; the message says why."""


class CompiledStage(InferenceStage):
    """An `InferenceStage` whose blocks run through torch.compile.

    A block is compiled once connected and once not, so that every scheme runs on what is there already; blocks of one
    shape share their code. The compiler works when a block first runs.
    """

    def __init__(self, stage: InferenceStage) -> None:
        super().__init__(stage, connected=stage.connected, unconnected=stage.unconnected)
        # One function for each kind of tail: neither meets more cases than the compiler keeps for one.
        self.run_connected, self.run_unconnected = (
            torch.compile(with_own_code(run_block), dynamic=False) for _ in range(2)
        )


def compile_stages(network: StagedNetwork) -> None:
    """Let the stages of a folded network run their blocks through torch.compile, in place; see `CompiledStage`."""
    network.replace_stages(CompiledStage)


def compile_now(network: InferenceFn, batch: Tensor, *, fullgraph: bool = True, **options: object) -> InferenceFn:
    """`torch.compile` for this batch shape, done before returning, so that a failure shows here and not in a timing.

    Args:
        network: images -> logits; a function, not a module.
        batch: images (B, C, H, W).
        fullgraph: refuse what cannot be one graph; False leaves Python between its parts.
        options: of `torch.compile`.

    Raises:
        ModeUnavailable: if the compiler does not work on this machine.
    """
    compiled = torch.compile(with_own_code(network), fullgraph=fullgraph, dynamic=False, **options)
    run_once(compiled, batch)
    return compiled


def compile_network(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """Compile a folded network, in place, in channels_last, in the way that is the fastest on this device.

    On a CPU it is one program, in which no Python runs between the layers, with its weights packed for the convolutions
    ("frozen": changing them later has no effect). On a GPU a CUDA graph saves the processor from launching one block
    after the other, and blocks that share their code compile sooner.

    Raises:
        ModeUnavailable: if the compiler does not work on this machine.
    """
    if batch.device.type == "cpu":
        from torch._inductor import config as inductor  # takes a second to import

        interleave_stages(network)
        # It looks for CUDA where none is wanted, and warns that there is none.
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        # For the whole compiler: freezing as an option of torch.compile comes too late to have any effect.
        with inductor.patch(freezing=True, cpp_wrapper=True):
            return compile_frozen(in_channels_last(network), batch)
    compiled = compile_blocks(network, batch)
    return captured(compiled, batch) if batch.device.type == "cuda" else compiled


def compile_frozen(network: InferenceFn, batch: Tensor) -> InferenceFn:
    """`compile_now` for a network whose weights will not change.

    Before every call the compiler makes sure, module by module, that nothing has changed of what it saw, which for a
    single image takes a part of the time that can be measured. Here it looks at the images and at PyTorch's own state
    (such as autocast) only; at everything if an attention needs Python in the middle, on which the rest may depend.
    """
    filters = hasattr(torch.compiler, "keep_tensor_guards_unsafe")  # older releases have no such option
    try:
        return compile_now(network, batch, options={"guard_filter_fn": guards_of_the_call} if filters else None)
    except ModeUnavailable:
        return compile_now(network, batch, fullgraph=False)


def guards_of_the_call(guards: Sequence[Any]) -> list[bool]:
    """Which of the compiler's checks are of the images, or of PyTorch's own state, which has no name."""
    of_images = [guard.guard_type == "TENSOR_MATCH" and not isinstance(guard.value, nn.Parameter) for guard in guards]
    return [is_image or not guard.name for is_image, guard in zip(of_images, guards, strict=True)]


def compile_blocks(network: StagedNetwork, batch: Tensor) -> InferenceFn:
    """Compile the blocks of a folded network, in place, in channels_last; the compiler is done before this returns.

    Raises:
        ModeUnavailable: if the compiler does not work on this machine.
    """
    compile_stages(network)
    compiled = in_channels_last(network)
    run_once(compiled, batch)
    return compiled


def run_once(compiled: InferenceFn, batch: Tensor) -> None:
    """Let the compiler do its work now.

    Raises:
        ModeUnavailable: if it fails.
    """
    try:
        with torch.inference_mode():
            compiled(batch)
    except (RuntimeError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModeUnavailable(f"torch.compile does not work here ({reason})") from error


def with_own_code(function: types.FunctionType) -> types.FunctionType:
    """A copy of a function with a code object of its own.

    The compiler keeps its results per code object. Functions that share one would share the limit of eight results,
    and one network's program would run for another where only the images are looked at (`compile_frozen`).
    """
    return types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def captured(network: InferenceFn, batch: Tensor) -> InferenceFn:
    """A network in a CUDA graph.

    The result takes images of the batch's shape only (`EANError` for others), and its output is overwritten by the
    next call.

    Raises:
        ModeUnavailable: if the network cannot be captured.
    """
    with torch.inference_mode(), torch.cuda.device(batch.device):
        images = batch.clone()
        try:
            run = capture(lambda: network(images))
        except CaptureFailed as reason:
            raise ModeUnavailable(f"{reason}; 'folded' needs no graph") from reason

    @torch.inference_mode()  # outside of it, what was made inside cannot be written to
    def replay(new_images: Tensor) -> Tensor:
        if new_images.shape != images.shape:  # a single image would be copied to all places
            raise EANError(f"the graph was captured for {tuple(images.shape)}, got {tuple(new_images.shape)}")
        images.copy_(new_images)
        return run()

    replay.network = network  # the graph reads the weights where they are, and does not keep them
    return replay
