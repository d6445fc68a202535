"""Network files: supernet.pth and classifier.pth, weights with what is needed to rebuild their network.

They hold only tensors and plain values, and are loaded such that a file from the internet cannot run code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ean_core.io.file_format import later_version
from ean_core.io.network_meta import building, check_meta, load_strictly, read_spec
from ean_core.io.pth_file import write_pth
from ean_core.io.safe_load import load_tensors
from ean_core.networks import StagedNetwork, create_model
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.utils.errors import EANError
from ean_core.utils.find_nonfinite import first_not_finite_in

FORMAT = "ean-network-1"


@dataclass(frozen=True, kw_only=True)
class ModelSpec(TrunkSpec):
    """A classifier.

    Attributes:
        num_classes: outputs of the head.
        in_channels: of the images.
        pruned: whether unconnected attention was removed.
        folded: names of the trunk's own attention modules that were folded into the layers beside them.
    """

    num_classes: int
    in_channels: int = 3
    pruned: bool = False
    folded: tuple[str, ...] = ()

    def build(self) -> StagedNetwork:
        """Build the network with freshly initialized weights."""
        network = create_model(**self.trunk_arguments(), num_classes=self.num_classes, in_channels=self.in_channels)
        for name in self.folded:
            network.get_submodule(name)  # one that does not exist would be added
            network.set_submodule(name, nn.Identity())
        return network.prune() if self.pruned else network


def save_network(path: str | Path, network: StagedNetwork, spec: ModelSpec, **info: Any) -> None:
    """Write a network file, atomically.

    Args:
        path: a .pth file.
        network: on any device; memory formats are not preserved.
        spec: the arguments that build it.
        info: further plain values and tensors: classes, mean, std, recipe, metrics.

    Raises:
        EANError: if a weight is not finite; an existing file is kept.
    """
    check_finite(network, path)
    weights = network.state_dict()  # modified in place to keep its metadata, which holds the scheme
    for name, value in weights.items():
        weights[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
    write_pth(path, {"format": FORMAT, "model": asdict(spec), "state_dict": weights, **info})


def check_finite(network: nn.Module, path: str | Path) -> None:
    """Refuse to write a network with NaN or infinity.

    Raises:
        EANError: with the first tensor that is not finite.
    """
    if (name := first_not_finite_in(network)) is not None:
        raise EANError(
            f"{path} was not written, because {name} of the network is not finite: training diverged, so train it "
            "again with a lower learning rate"
        )


def read_network_file(path: str | Path) -> dict[str, Any]:
    """Read the content of a network file.

    Raises:
        EANError: if it is missing, truncated, holds other objects, or is not a network file.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise later_version(path, found, FORMAT) or EANError(
            f"{path} is not a network file of this project (expected format {FORMAT!r}): give a supernet.pth or "
            "classifier.pth that its commands wrote"
        )
    return content


def load_network(path: str | Path) -> tuple[StagedNetwork, dict[str, Any]]:
    """Build the network of a file and load its weights.

    Returns:
        the network in eval mode, and the file's other content.

    Raises:
        EANError: as `read_network_file`, or if the weights do not fit the network.
    """
    content = read_network_file(path)
    return build_network(path, content), content


def build_network(path: str | Path, content: dict[str, Any]) -> StagedNetwork:
    """Build the network of a file's content in eval mode; removes the weights from the content.

    Raises:
        EANError: if the weights do not fit the network.
    """
    spec = read_spec(ModelSpec, path, content)
    check_meta(path, content, classes=spec.num_classes, channels=spec.in_channels)
    with building(path):
        network = spec.build()
    weights = content.pop("state_dict")
    load_strictly(network, weights, path=path, what="the network it names", advice="train it again")
    return network.eval()
