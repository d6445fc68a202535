"""What trimming says of the time saved: certain only where the measured interval is."""

from __future__ import annotations

import pytest

from ean_core.pipeline.trim.cost import TRIMMED
from ean_core.pipeline.trim.greedy import Limits
from ean_core.pipeline.trim.sentence import conclusion, disagreement, ranged, time_saved
from ean_core.report.trim import conclusion as shown_conclusion


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ((18.7, 18.1, 19.0), "that saves 19 % (18 to 19) of the time on this CPU"),
        ((14.0, -3.0, 30.0), "whether that saves time on this CPU is unclear (14 %, 95 %: -3 to 30)"),
        ((16.0, 0.3, 28.0), "whether that saves time on this CPU is unclear (16 %, 95 %: 0 to 28)"),
        ((-5.0, -9.0, -2.0), "that takes 5 % (2 to 9) more time on this CPU"),
    ],
)
def test_an_uncertain_saving_is_called_uncertain(interval: tuple[float, ...], sentence: str) -> None:
    assert time_saved(dict(zip(("value", "low", "high"), interval, strict=True)), where="this CPU") == sentence


def test_a_loss_on_the_images_that_chose_has_no_interval() -> None:
    """They chose the network that loses least on them, so that an interval would hold the true loss too rarely."""
    drop, saved = {"value": 0.1, "low": -0.2, "high": 0.4}, {"value": 18.7, "low": 18.1, "high": 19.0}
    metrics = {
        "metric": {"name": "accuracy", "unit": "%"}, "calls": {"a": {}, "b": {}}, "folded": ["a"],
        "trimmed": {"drop": drop}, "test": None, "times": {TRIMMED: {"saved": saved}},
    }  # fmt: skip
    limits, parts = Limits(max_drop=0.3), {"validation": 500, "test": 0}
    said = conclusion(metrics, limits=limits, parts=parts, device="a CPU")
    assert "at a loss of 0.10 points of accuracy (on the images that chose, which is optimistic; chosen for " in said
    assert "95 %" not in said
    said = conclusion({**metrics, "test": {"drop": drop}}, limits=limits, parts={**parts, "test": 200}, device="a CPU")
    assert "(95 %: -0.20 to 0.40; 200 test images; chosen for " in said
    old = "1 of 2 attention calls can go for 0.10 points (95 %: -0.20 to 0.40; chosen for a loss on 500 images)"
    shown = shown_conclusion({"sentence": old, "test": None})
    assert shown == "1 of 2 attention calls can go for 0.10 points (on the images that chose, which is optimistic; " + (
        "chosen for a loss on 500 images)"
    )
    assert shown_conclusion({"sentence": old, "test": {"drop": drop}}) == old


def test_table_and_sentence_that_do_not_agree_are_warned_of() -> None:
    path = [{"increment": 25.0}, {"increment": 0.0}]  # the calls' times: 25 of 125, a fifth
    saved = {"value": 18.7, "low": 18.1, "high": 19.0}
    metrics = {"path": path, "chosen": 1, "times": {TRIMMED: {"saved": saved}}}
    assert disagreement(metrics) is None
    path[0]["increment"] = 3.0
    assert "add up to 3 % of the time, and whole networks differ by 19 %" in disagreement(metrics)
    saved.update(low=2.0, high=30.0)  # an interval that wide disagrees with little
    assert disagreement(metrics) is None


def test_a_zero_has_no_sign() -> None:
    assert ranged({"value": -0.001, "low": -0.006, "high": 0.2}) == "0.00 (-0.01 to 0.20)"
