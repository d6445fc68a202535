"""The project's residual network as an mmsegmentation backbone: five lines in any config.

    custom_imports = dict(imports=["segmentation.backbone"])
    model = dict(
        backbone=dict(_delete_=True, type="EANResNet", arch="resnet50", attention="se", scheme="0100010110011001",
                      strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True),
    )

`ean_core.networks` defines and builds the network; this class only adapts it to mmsegmentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from ean_core.networks import StagedNetwork, create_model, stages_blocks
from ean_core.networks.pretrained import LoadReport, load_weights
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.networks.weights_file import Weights, read_weights
from ean_core.scheme import SchemeLike, as_scheme_of_first_stages, check_attention
from ean_core.utils.errors import EANError, unknown_name

NORMS = ("BN", "SyncBN")


@MODELS.register_module()
class EANResNet(BaseModule):
    """Maps images to stage features, with attention only where the scheme connects it.

    Args:
        arch: a name that `create_model` knows: "resnet50", "resnet50_nobias", "resnet29", ..
        attention: None, "se", "sge", "dia", ..
        sharing: "stage" (Share-full, EAN) or "block" (Org-full).
        scheme: None or "share-full" (all ones), "org" (no attention), "org-full", bits, a path to a scheme.json, or the
            name of a shipped scheme.
        attention_options: overrides of the paper's options.
        unconnected: "identity", or "mean" for a supernet with mean masks; see `create_model`.
        out_indices: stages whose features are returned, from 0; None for all. Later stages are not built.
        strides: stride of each stage; None for the architecture's. (1, 2, 1, 1) ends at stride 8, (1, 2, 2, 1) at 16.
        dilations: dilation of each stage; None for the architecture's.
        contract_dilation: halve the dilation of a dilated stage's first block; timm's networks always do so.
        conv_bias: whether the convolutions have a bias; None for the architecture's choice.
        pool: window of an average pooling before the stem, for CIFAR networks, whose stem has stride 1.
        frozen_stages: -1 freezes nothing, 0 the stem, n the stem and the first n stages.
        norm_eval: use batch norm's running statistics in training.
        norm_cfg: dict(type="BN" or "SyncBN", requires_grad=True), as for mmsegmentation's backbones.
        init_cfg: dict(type="Pretrained", checkpoint=...) with a source for `read_weights` of
            `ean_core.networks.weights_file`: a classifier.pth or supernet.pth, a file or URL of public weights,
            torchvision://resnet50, or "imagenet" for the architecture's public weights; None for random weights.

    Raises:
        EANError: for an unknown name, a scheme of the wrong length, or stages that the architecture lacks.
    """

    def __init__(
        self,
        arch: str = "resnet50",
        attention: str | None = "se",
        *,
        sharing: str = "stage",
        scheme: SchemeLike = None,
        attention_options: Mapping[str, Any] | None = None,
        unconnected: str = "identity",
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
        built = max(self.out_indices) + 1
        attention, sharing, scheme = resolve_scheme(attention, sharing, scheme, blocks, stages=built)
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
            unconnected=unconnected,
            **{name: value for name, value in layout.items() if value is not None},
        )
        network.keep_stages(built)
        without_spare = network.prune() if attention and unconnected == "identity" else network
        self.network = set_norm(without_spare, norm_cfg)
        self.arch, self.attention, self.pool = arch, attention, pool
        self.attention_options = dict(attention_options or {})
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        self.freeze()

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the returned features, which a head's `in_channels` must match."""
        return tuple(self.network.stage_channels[index] for index in self.out_indices)

    def init_weights(self) -> None:
        """Load the weights that `init_cfg` names and log a summary; without it, keep the random weights."""
        if self.init_cfg and self.init_cfg["type"] == "Pretrained":
            print_log(f"backbone: {self.load(self.init_cfg['checkpoint'])}", logger="current")
        elif self.init_cfg:
            super().init_weights()

    def load(self, source: str | Weights) -> LoadReport:
        """Copy weights, given as an object, a file or a URL, into the network; see `load_weights`."""
        weights = source if isinstance(source, Weights) else read_weights(source, arch=self.arch)
        spec = TrunkSpec(self.arch, self.attention, self.network.sharing, attention_options=self.attention_options)
        return load_weights(self.network, weights, spec=spec)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (B, in_channels, H, W) to the features of `out_indices`, each (B, channels[i], H_i, W_i)."""
        features = self.network.forward_features(self.pooled(images))
        return tuple(features[index] for index in self.out_indices)

    def pooled(self, images: Tensor) -> Tensor:
        """Average images (B, in_channels, H, W) over `pool` x `pool` pixels."""
        return F.avg_pool2d(images, self.pool, ceil_mode=True) if self.pool > 1 else images

    def freeze(self) -> None:
        """Disable the gradients of the frozen stages."""
        for module in self.frozen:
            module.requires_grad_(False)

    @property
    def frozen(self) -> list[nn.Module]:
        """The stem's layers and the frozen stages."""
        if self.frozen_stages < 0:
            return []
        stem = [module for name, module in self.network.named_children() if not name.startswith("layer")]
        return [*stem, *self.network.stages[: self.frozen_stages]]

    def train(self, mode: bool = True) -> EANResNet:
        """Set the mode; frozen stages, and with `norm_eval` all batch norms, stay in eval mode."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def resolve_scheme(
    attention: str | None, sharing: str, scheme: SchemeLike, blocks: Sequence[int], *, stages: int
) -> tuple[str | None, str, SchemeLike]:
    """Resolve preset names such as "org-full" to (attention, sharing, scheme); only the first `stages` are built."""
    if isinstance(scheme, str) and scheme == "org-full":
        sharing, scheme = "block", None
    if scheme is not None:
        given = scheme
        scheme = as_scheme_of_first_stages(scheme, blocks, stages=stages)
        if not scheme.connections:
            return None, "stage", None
        if attention is not None:
            check_attention(given, attention)
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
    """Raise an `EANError` for stages that the architecture lacks."""
    if not out_indices or min(out_indices) < 0 or max(out_indices) >= stages:
        raise EANError(f"{arch} has stages 0 to {stages - 1}, got out_indices {tuple(out_indices)}")
    for name, values in (("strides", strides), ("dilations", dilations)):
        if values is not None and len(values) != stages:
            raise EANError(f"{arch} has {stages} stages, got {len(values)} {name}: {tuple(values)}")
    if not -1 <= frozen_stages <= stages:
        raise EANError(f"frozen_stages of {arch} is -1 (none) to {stages}, got {frozen_stages}")


def set_norm(network: StagedNetwork, norm_cfg: Mapping[str, Any] | None) -> StagedNetwork:
    """Convert to synchronized batch norm, or freeze its weights, as `norm_cfg` says."""
    options = {"type": "BN", "requires_grad": True, **(norm_cfg or {})}
    kind, requires_grad = options.pop("type"), options.pop("requires_grad")
    if kind not in NORMS:
        raise unknown_name("norm_cfg type", kind, list(NORMS))
    if options:
        raise EANError(f"norm_cfg of EANResNet takes only type and requires_grad, got also {', '.join(options)}")
    if kind == "SyncBN" and any(
        isinstance(module, _BatchNorm) and hasattr(module, "act") for module in network.modules()
    ):
        raise EANError(
            "this network's batch norms include the activation, which SyncBN would lose: give the backbone "
            "norm_cfg=dict(type='BN')"
        )
    if not requires_grad:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.requires_grad_(False)
    return nn.SyncBatchNorm.convert_sync_batchnorm(network) if kind == "SyncBN" else network
