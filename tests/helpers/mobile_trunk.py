"""A mobile trunk of timm's that is built and run in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

NAME = "tiny_mobile"
ARCH = f"timm:{NAME}"
BLOCKS = (1, 2, 2)
LAYERS = [["ds_r1_k3_s1_e1_c8"], ["ir_r2_k3_s2_e2_c16"], ["ir_r2_k3_s2_e2_c16_se0.25"]]
"""In timm's words: a separable block, inverted residuals, and inverted residuals with SE of their own."""


def tiny_mobile(pretrained: bool = False, **options: Any) -> Any:
    """EfficientNet-Lite in small, with TensorFlow's 'same' padding; timm calls it by the name of this function."""
    from timm.models.efficientnet import EfficientNet, _create_effnet, decode_arch_def, resolve_act_layer

    network: EfficientNet = _create_effnet(
        NAME,
        pretrained,
        block_args=decode_arch_def(LAYERS),
        num_features=24,
        stem_size=8,
        fix_stem=True,
        pad_type="same",
        round_chs_fn=partial(round),
        act_layer=resolve_act_layer({}, "relu6"),
        **options,
    )
    return network


@pytest.fixture(scope="module")
def mobile_arch() -> Iterator[str]:
    """The name of the trunk, known to timm as long as a module's tests run."""
    pytest.importorskip("timm")
    from timm.models import _registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_registry._model_entrypoints, NAME, tiny_mobile)
        yield ARCH
