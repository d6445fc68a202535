"""A file of a later version of the project is not called damaged or foreign."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ean_core.benchmark.latency_table import LatencyTable
from ean_core.inference.loaded_model import load_file
from ean_core.io.file_format import is_later
from ean_core.io.records import read_record, write_record
from ean_core.networks.network_file import load_network
from ean_core.pipeline.pareto_file import read_front
from ean_core.report import html_report
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError


@pytest.mark.parametrize("found", ["ean-record-2", "ean-record-10"])
def test_a_larger_number_is_later(found: str) -> None:
    assert is_later(found, "ean-record-1")


@pytest.mark.parametrize(
    "found", ["ean-record-1", "ean-record-0", "ean-record-x", "ean-record-²", "other-2", 2, None, {}]
)
def test_what_is_not_later(found: object) -> None:
    assert not is_later(found, "ean-record-1")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("record", read_record),
        ("scheme", Scheme.load),
        ("pareto", read_front),
        ("latency", LatencyTable.load),
        ("network", load_network),
        ("network", load_file),
        ("counter", load_file),
        ("segmentor", load_file),
    ],
)
def test_every_reader_says_that_a_later_version_wrote_it(
    tmp_path: Path, name: str, read: Callable[[Path], Any]
) -> None:
    content = {"format": f"ean-{name}-2"}
    path = tmp_path / ("file.json" if name in ("record", "scheme", "pareto", "latency") else "file.pth")
    path.write_text(json.dumps(content)) if path.suffix == ".json" else torch.save(content, path)
    with pytest.raises(EANError, match=rf"has the format 'ean-{name}-2', .* a later version wrote it, so update"):
        read(path)


def test_a_run_folders_later_record_is_not_left_out(tmp_path: Path) -> None:
    path = write_record(tmp_path / "summary.json", kind="train", settings={}, metrics={})
    path.write_text(path.read_text().replace("ean-record-1", "ean-record-2"))
    with pytest.raises(EANError, match="a later version wrote it"):
        html_report(None, [tmp_path], only=True)
