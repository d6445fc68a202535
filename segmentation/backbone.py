"""The project's residual network as a backbone of mmsegmentation: five lines in anybody's config.

    custom_imports = dict(imports=["segmentation.backbone"])
    model = dict(
        backbone=dict(_delete_=True, type="EANResNet", arch="resnet50", attention="se", scheme="0100010110011001",
                      strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True),
    )

Nothing of the network is defined here: `ean_core.networks` builds it, this class shows it to mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ean_core.networks import StagedNetwork, create_model, stages_blocks
from ean_core.networks.pretrained import LoadReport, load_weights
from ean_core.networks.weights_file import TrunkSpec, Weights, read_weights
from ean_core.scheme import SchemeLike, as_scheme
from ean_core.utils.errors import EANError, unknown_name

SCHEMES = Path(__file__).resolve().parent.parent / "schemes"
NORMS = ("BN", "SyncBN")


@MODELS.register_module()
class EANResNet(BaseModule):
    """Images to the features of the stages, with the attention that a scheme connects and no other.

    Args:
        arch: a name that `create_model` knows: "resnet50", "resnet50_nobias", "resnet29", ..
        attention: None, "se", "sge", "dia", ..
        sharing: "stage" (Share-full, EAN) or "block" (Org-full).
        scheme: None or "share-full" (all ones), "org" (no attention), "org-full", bits, a path to a scheme.json, or the
            name of a file of the project's schemes/.
        attention_options: overrides of the paper's options.
        out_indices: stages whose features are given, from 0; None for all. Stages after the last one are not built.
        strides: of each stage; None for the architecture's. (1, 2, 1, 1) ends at stride 8, (1, 2, 2, 1) at 16.
        dilations: of each stage; None for the architecture's.
        contract_dilation: halve the dilation of a dilated stage's first block; timm's networks always do.
        conv_bias: whether the convolutions have a bias; None for the architecture's choice.
        pool: side of the squares over which images are averaged first, for CIFAR's networks, whose stem has stride 1.
        frozen_stages: 0 freezes the stem, n the stem and the first n stages; -1 nothing.
        norm_eval: keep batch norm's running statistics in training.
        norm_cfg: dict(type="BN" or "SyncBN", requires_grad=True), as for mmsegmentation's backbones.
        init_cfg: dict(type="Pretrained", checkpoint=...) with what `read_weights` of `ean_core.networks.weights_file`
            takes: a classifier.pth or supernet.pth, a file or an address of public weights, torchvision://resnet50, or
            "imagenet" for the architecture's public ones; None for random weights.

    Raises:
        EANError: for an unknown name, a scheme of another length, or stages that the architecture does not have.
    """

    def __init__(
        self,
        arch: str = "resnet50",
        attention: str | None = "se",
        *,
        sharing: str = "stage",
        scheme: SchemeLike = None,
        attention_options: Mapping[str, Any] | None = None,
        out_indices: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        contract_dilation: bool = False,
        conv_bias: bool | None = None,
        in_channels: int = 3,
        pool: int = 1,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg=None if init_cfg is None else dict(init_cfg))
        blocks = stages_blocks(arch)
        stages = len(blocks)
        self.out_indices = tuple(range(stages)) if out_indices is None else tuple(out_indices)
        check_layout(arch, stages, self.out_indices, strides=strides, dilations=dilations, frozen_stages=frozen_stages)
        if pool < 1:
            raise EANError(f"pool must be at least 1, got {pool}")
        attention, sharing, scheme = choose_path(attention, sharing, scheme, blocks)
        layout: dict[str, Any] = {"strides": strides, "dilations": dilations, "conv_bias": conv_bias}
        layout["contract_dilation"] = contract_dilation or None
        network = create_model(
            arch,
            num_classes=0,
            attention=attention,
            sharing=sharing,
            scheme=scheme,
            attention_options=attention_options,
            in_channels=in_channels,
            **{name: value for name, value in layout.items() if value is not None},
        )
        network.keep_stages(max(self.out_indices) + 1)
        self.network = set_norm(network.prune() if attention else network, norm_cfg)
        self.arch, self.attention, self.pool = arch, attention, pool
        self.attention_options = dict(attention_options or {})
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.freeze()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the features that are given: what a head's `in_channels` must be."""
        return tuple(self.network.stage_channels[index] for index in self.out_indices)

    def init_weights(self) -> None:
        """Load what `init_cfg` names, and say what was done; without it the network keeps its own random weights."""
        if self.init_cfg and self.init_cfg["type"] == "Pretrained":
            print_log(f"backbone: {self.load(self.init_cfg['checkpoint'])}", logger="current")
        elif self.init_cfg:
            super().init_weights()

    def load(self, source: str | Weights) -> LoadReport:
        """Copy weights, or those of a file or an address, into the network; see `load_weights`."""
        weights = source if isinstance(source, Weights) else read_weights(source, arch=self.arch)
        spec = TrunkSpec(
            arch=self.arch,
            attention=self.attention,
            sharing=self.network.sharing,
            attention_options=self.attention_options,
            in_channels=self.network.in_channels,
        )
        return load_weights(self.network, weights, spec=spec)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) -> the features of the stages in `out_indices`, (B, channels[i], H_i, W_i)."""
        if self.pool > 1:
            images = F.avg_pool2d(images, self.pool, ceil_mode=True)
        features = self.network.forward_features(images)
        return tuple(features[index] for index in self.out_indices)

    def freeze(self) -> None:
        """Take the parameters of the frozen stages out of training."""
        for module in self.frozen:
            module.requires_grad_(False)

    @property
    def frozen(self) -> list[nn.Module]:
        """The stem's layers and the frozen stages."""
        if self.frozen_stages < 0:
            return []
        stem = [one for name, one in self.network.named_children() if not name.startswith("layer")]
        return [*stem, *self.network.stages[: self.frozen_stages]]

    def train(self, mode: bool = True) -> EANResNet:
        """As the base; frozen stages stay in eval mode, with `norm_eval` all batch norms do."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def choose_path(
    attention: str | None, sharing: str, scheme: SchemeLike, blocks: Sequence[int]
) -> tuple[str | None, str, SchemeLike]:
    """Attention, sharing and scheme once the presets' names are resolved."""
    if isinstance(scheme, str) and scheme == "org-full":
        sharing, scheme = "block", None
    elif isinstance(scheme, str) and (SCHEMES / f"{scheme}.json").is_file():
        scheme = SCHEMES / f"{scheme}.json"
    if scheme is not None:
        scheme = as_scheme(scheme, blocks)
        if not scheme.connections:
            return None, "stage", None
    return attention, sharing, scheme


def check_layout(
    arch: str,
    stages: int,
    out_indices: Sequence[int],
    *,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    frozen_stages: int,
) -> None:
    """Refuse stages that are not there."""
    if not out_indices or min(out_indices) < 0 or max(out_indices) >= stages:
        raise EANError(f"{arch} has stages 0 to {stages - 1}, got out_indices {tuple(out_indices)}")
    for name, values in (("strides", strides), ("dilations", dilations)):
        if values is not None and len(values) != stages:
            raise EANError(f"{arch} has {stages} stages, got {len(values)} {name}: {tuple(values)}")
    if not -1 <= frozen_stages <= stages:
        raise EANError(f"frozen_stages of {arch} is -1 (none) to {stages}, got {frozen_stages}")


def set_norm(network: StagedNetwork, norm_cfg: Mapping[str, Any] | None) -> StagedNetwork:
    """Synchronise batch norm over processes, or take its weights out of training, as the config says."""
    given = {"type": "BN", "requires_grad": True, **(norm_cfg or {})}
    kind, requires_grad = given.pop("type"), given.pop("requires_grad")
    if kind not in NORMS:
        raise unknown_name("norm_cfg type", kind, list(NORMS))
    if given:
        raise EANError(f"norm_cfg of EANResNet takes type and requires_grad, got {', '.join(given)} too")
    if kind == "SyncBN" and any(
        isinstance(module, _BatchNorm) and hasattr(module, "act") for module in network.modules()
    ):
        raise EANError(
            "the batch norms of this network activate too, which SyncBN would lose: give the backbone "
            "norm_cfg=dict(type='BN')"
        )
    if not requires_grad:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.requires_grad_(False)
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if kind == "SyncBN" else network
