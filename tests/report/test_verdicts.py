"""Which sentences of a record the report shows, and what it makes anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from ean_core.report.results import Record
from ean_core.report.verdicts import verdicts
from ean_core.utils.comparison_sentences import ONE_SEED
from tests.helpers.report_records import spread

ORG = (60.1, 60.9, 60.4, 60.7, 60.2, 60.8)
OLD = "No difference between EAN and Org can be shown: 60 and 54 of 100 test images right (p = 0.1)."


def record(rows: list[dict], comparisons: list[str], **settings) -> Record:
    content = {"kind": "pipeline", "settings": settings, "metrics": rows, "comparisons": comparisons}
    return Record("summary.json", content, Path("summary.json"))


def test_sentences_over_seeds_are_made_from_the_values() -> None:
    """An older version did not correct them for their number."""
    searched = [value + gain for value, gain in zip(ORG, (0.4, 0.5, 0.6, 0.3, 0.5, 0.8), strict=True)]
    opposed = [value + gain for value, gain in zip(ORG, (0.9, -0.9, 0.9, 0.9, -0.9, -0.9), strict=True)]
    rows = [("Org", ORG), ("Share-full", opposed), ("EAN", searched)]
    said = verdicts(record([{"network": name, "top1": spread(*values)} for name, values in rows], [OLD]))
    assert [sentence.split(":")[0] for sentence in said] == [
        "No difference between EAN and Org can be shown with 6 seeds",
        "No difference between EAN and Share-full can be shown with 6 seeds",
        "No difference between Share-full and Org can be shown with 6 seeds",
    ]
    assert "+0.52 points of test accuracy" in said[0]
    assert "6 seeds, p = 0.34 corrected for 3 comparisons)" in said[0]
    mae = {"key": "mae", "name": "MAE", "unit": "people", "higher_is_better": False}
    rows = [{"methods": ["org"], "mae": spread(*ORG)}, {"methods": ["ean", "enas"], "mae": spread(*searched)}]
    (sentence,) = verdicts(record(rows, [OLD], metrics=[mae]))
    assert sentence.startswith("ean and enas is worse than Org: +0.52 people of test MAE")
    assert verdicts(record(rows, [], metrics=[mae])) == []


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ([OLD, ONE_SEED], True),
        ([OLD, OLD, ONE_SEED], False),
        ([OLD.replace("0.1)", "0.2 corrected for 2 comparisons)")] * 2 + [ONE_SEED], True),
    ],
)
def test_several_uncorrected_sentences_over_images_are_left_out(stored: list[str], shown: bool) -> None:
    rows = [{"network": name, "top1": spread(50)} for name in ("Org", "Share-full", "EAN")]
    assert verdicts(record(rows, stored)) == (stored if shown else [])
