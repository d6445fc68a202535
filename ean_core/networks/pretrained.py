"""Public ImageNet weights into our networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ean_core.io.safe_load import load_tensors
from ean_core.networks.base import StagedNetwork
from ean_core.networks.timm_backbone import TimmNetwork, download
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.optional_packages import require

DOWNLOAD = "download"


@dataclass(frozen=True)
class LoadReport:
    """What a load did, by name of the network's state.

    Attributes:
        loaded: taken from the file.
        left: kept as they were (attention, and a head of another size).
        zeroed: convolution biases that the file does not have, set to zero, which gives the same function.
        unused: in the file, but not in the network.
    """

    loaded: tuple[str, ...]
    left: tuple[str, ...]
    zeroed: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} tensors loaded"]
        if self.left:
            heads = sorted(
                {name.rsplit(".attention", 1)[0] + ".attention" if ".attention" in name else name for name in self.left}
            )
            parts.append(f"left at their initial value: {', '.join(heads)}")
        if self.zeroed:
            parts.append(f"{len(self.zeroed)} convolution biases set to zero")
        if self.unused:
            parts.append(f"in the file but not used: {', '.join(self.unused)}")
        return "; ".join(parts)


def load_torchvision_weights(network: StagedNetwork, state_dict: Mapping[str, Tensor] | str | Path) -> LoadReport:
    """Copy the weights of torchvision's or timm's network into the trunk; attention keeps its initial value.

    Args:
        network: built by `create_model` with the same depth; biased convolutions get a zero bias.
        state_dict: of torchvision's network of that depth, as from `torchvision.models.resnet50(...).state_dict()`, or
            of timm's for a `timm:` architecture; the path of a file that holds one (.pth or .safetensors), loaded as
            tensors only; or "download", for a `timm:` architecture, which fetches timm's.

    Returns:
        what was loaded and what was left; `print` it.

    Raises:
        EANError: if the weights cannot be read or fetched, or a trunk weight is missing or has another shape; nothing
            is changed then.
    """
    if isinstance(state_dict, str) and state_dict == DOWNLOAD:
        if not isinstance(network, TimmNetwork):
            raise EANError("only weights of timm's networks can be downloaded: give the file, or a timm: architecture")
        state_dict = download(network.name)
    elif not isinstance(state_dict, Mapping):
        state_dict = read_weights(state_dict)
    state_dict = {network.own_name(name.removeprefix("module.")): value for name, value in state_dict.items()}
    own = network.state_dict()
    loaded, left, zeroed, wrong = [], [], [], []
    for name, value in own.items():
        given = state_dict.get(name)
        if given is not None and given.shape == value.shape:
            loaded.append(name)
        elif ".attention." in name or name.startswith("fc."):
            left.append(name)
        elif given is None and is_conv_bias(network, name):
            zeroed.append(name)
        elif not name.endswith("num_batches_tracked"):
            shape = "missing" if given is None else f"of shape {tuple(given.shape)}"
            wrong.append(f"{name} {shape} in the file, {tuple(value.shape)} in the network")
    if wrong:
        raise EANError(
            f"these weights are of another network: {len(wrong)} tensors do not fit, the first is {wrong[0]}; build "
            "the architecture that the file was made with"
        )
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state_dict[name])
        for name in zeroed:
            own[name].zero_()
    unused = tuple(name for name in state_dict if name not in own or name in left)
    return LoadReport(tuple(loaded), tuple(left), tuple(zeroed), unused)


def read_weights(path: str | Path) -> Mapping[str, Tensor]:
    """The weights in a file: a state dict, or one under "state_dict" or "model" as training scripts save it.

    Raises:
        EANError: if the file cannot be read, holds more than tensors and plain values, or no weights.
    """
    if Path(path).suffix == ".safetensors" and Path(path).is_file():
        return read_public_safetensors(path)
    content = load_tensors(path)
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise EANError(f"{path} holds no weights: expected names and tensors, as torchvision's files have them")
    return content


def read_public_safetensors(path: str | Path) -> Mapping[str, Tensor]:
    """The tensors of a .safetensors file, as the hub has them for timm's networks.

    Raises:
        EANError: if the file is damaged.
    """
    require("safetensors", extra="export", what=f"reading {path}")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise EANError(f"{path} is damaged or truncated ({first_line(error)}): get it again") from None


def is_conv_bias(network: StagedNetwork, name: str) -> bool:
    """Whether a name of the state is the bias of a convolution."""
    module, _, leaf = name.rpartition(".")
    return leaf == "bias" and isinstance(network.get_submodule(module), torch.nn.Conv2d)
