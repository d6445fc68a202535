"""CUDA without a GPU: tensors that have a device and a shape but no values, and what a CUDA graph refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoTransfers(TorchDispatchMode):
    """Raises where tensors go from one device to the other, which nothing that a CUDA graph captures may do."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name, out = str(function), function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        # A single number from the processor's memory is an argument of a kernel, except where it is copied.
        places = {tensor.device.type for tensor in tensors if tensor.dim() or "cop" in name}
        if len(places) > 1:
            raise AssertionError(f"{name} between {' and '.join(sorted(places))} in a part that a CUDA graph captures")
        return out


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Inside the block everything is made on a GPU that is not there.

    Tensors of two devices do not meet, as with real ones, and nothing can be decided by a tensor's values.
    """
    copying = patch.object(FakeTensor, "__deepcopy__", copied, create=True)
    with FakeTensorMode(), torch.device("cuda"), copying, patch.object(nn.Module, "_apply", applied):
        yield


def copied(tensor: FakeTensor, memo: dict[int, Any]) -> Tensor:
    """As a tensor with values is copied; PyTorch's own way copies the whole mode that a fake one belongs to."""
    if id(tensor) not in memo:
        copy = tensor.detach().clone()
        memo[id(tensor)] = nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy
    return memo[id(tensor)]


def applied(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """As `nn.Module._apply`, which `to` and its like call and which cannot swap a fake tensor for another."""
    for child in module.children() if recurse else ():
        child._apply(change)
    for name, one in module._parameters.items():
        if one is not None:
            module._parameters[name] = nn.Parameter(change(one.detach()), one.requires_grad)
    module._buffers.update({name: change(one) for name, one in module._buffers.items() if one is not None})
    return module
