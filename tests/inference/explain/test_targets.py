"""The score that a heatmap explains, and its name in the picture."""

from __future__ import annotations

import pytest
import torch

from ean_core import EANError
from ean_core.inference.explain.targets import class_index, class_target, count_target
from tests.helpers.tiny_files import CLASSES


def test_targets_say_score_and_name() -> None:
    logits = torch.tensor([1.0, 3.0, 0.0, 2.0])
    scores = logits.exp() / logits.exp().sum()
    own = class_target(logits, None, classes=CLASSES)
    assert (own.name, own.text(logits)) == ("bee", f"bee {scores[1]:.2f}")
    cat = class_target(logits, "cat", classes=CLASSES)
    assert cat.text(logits) == f"cat {scores[2]:.2f}\ntop: bee {scores[1]:.2f}"
    assert cat.value(logits) == 0
    assert class_target(logits, "3", classes=CLASSES).name == "dog"
    assert class_index(["7", "3"], "3") == 1, "a name goes before a number"
    for wanted in ("bea", "4", "-1", ""):
        with pytest.raises(EANError, match="4 classes, such as"):
            class_target(logits, wanted, classes=CLASSES)
    with pytest.raises(EANError, match="such as bee"):
        class_target(logits, "bea", classes=CLASSES)
    density = torch.tensor([[[1.5, 2.0], [0.0, 1.0]]])
    count = count_target(density, None)
    assert (count.value(density), count.text(density)) == (4.5, "count 4.5")
    with pytest.raises(EANError, match="unknown target 'bee'"):
        count_target(density, "bee")
