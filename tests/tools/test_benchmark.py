"""tools/benchmark.py as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ean_core import Scheme, count_parameters, create_model
from ean_core.benchmark.latency_table import LatencyTable
from ean_core.deploy.modes import MODES
from ean_core.io.records import read_record
from tests.conftest import Script

TINY = ("--batch-size", "2", "--rounds", "3", "--image-size", "8", "--device", "cpu", "--threads", "1")


def test_table_record_and_chart(in_process: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schemes = ("010 | 000 | 011", "111 000 000")
    options = ("--arch", "resnet20", "--attention", "se", "dia", "--modes", "eager", "folded", "cuda_graph")
    assert in_process(*options, *TINY, "--scheme", *schemes, "--output", "out/run.json") == 0
    printed = capsys.readouterr().out

    record = read_record(tmp_path / "out/run.json")
    assert record["kind"] == "benchmark"
    assert record["settings"]["arch"] == "resnet20"
    assert record["settings"]["batch_size"] == 2
    assert record["settings"]["image_size"] == 8
    assert record["settings"]["threads"] == 1
    assert isinstance(record["settings"]["kept_memory"], bool)
    assert "CUDA" in record["settings"]["skipped"]["cuda_graph"]
    rows = {row["network"]: row for row in record["metrics"]}
    assert list(rows) == ["Org", "Org-full se", "Share-full se", "EAN se", "Share-full dia", "EAN dia"]
    assert [row["connections"] for row in rows.values()] == [0, 9, 9, 3, 9, 3]
    pruned = create_model("resnet20", attention="se", scheme=schemes[0]).prune()
    assert rows["EAN se"]["parameters"] == count_parameters(pruned)
    assert rows["Org"]["parameters"] < rows["EAN se"]["parameters"] < rows["Share-full se"]["parameters"]
    assert rows["Org"]["multiply_adds"] < rows["EAN se"]["multiply_adds"] < rows["Share-full se"]["multiply_adds"]
    for name, row in rows.items():
        assert set(row["timings"]) == {"eager", "folded"}
        for timing in row["timings"].values():
            assert len(timing["timing"]["seconds"]) == 3
            assert timing["median"]["low"] <= timing["median"]["value"] <= timing["median"]["high"]
            assert (timing["increment"] is None) == (name == "Org")

    assert (tmp_path / "out/run.png").read_bytes().startswith(b"\x89PNG")
    lines = printed.splitlines()
    for name, row in rows.items():
        shown = name.replace(" se", " SE").replace(" dia", " DIA")
        line = next(line for line in lines if line.startswith(f"{shown} "))
        assert f"{row['connections']}/9" in line
        assert f"{row['parameters']:,}" in line
        assert f"{1e3 * row['timings']['eager']['median']['value']:.2f}" in line
    assert max(map(len, lines)) > 80
    assert "…" not in printed
    assert "\x1b" not in printed
    assert "skipped cuda_graph" in printed
    assert "batch of 2, 8x8 pixels, CPU, 1 thread, 3 rounds, networks interleaved" in printed


def test_a_scheme_file_names_architecture_and_attention(in_process: Script, tmp_path: Path) -> None:
    Scheme.parse("010000011", blocks=(3, 3, 3)).save(tmp_path / "s.json", arch="resnet20", attention="sge")
    assert in_process("--scheme", "s.json", *TINY, "--modes", "eager") == 0
    record = json.loads((tmp_path / "work_dirs/benchmark/resnet20_sge.json").read_text())
    assert [row["network"] for row in record["metrics"]] == ["Org", "Org-full sge", "Share-full sge", "EAN sge"]
    assert record["metrics"][-1]["scheme"] == "010 | 000 | 011"


@pytest.mark.parametrize("output", [("--output", "file/record.json"), ()])
@pytest.mark.parametrize("options", [("--modes", "eager"), ("--per-block",)])
def test_nothing_is_measured_that_cannot_be_written(
    in_process: Script,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    output: tuple[str, ...],
) -> None:
    for name in ("file", "work_dirs"):
        (tmp_path / name).touch()
    assert in_process("--arch", "resnet20", *TINY, *options, *output) == 2
    done = capsys.readouterr()
    assert f"error: {'file' if output else 'work_dirs/benchmark'} cannot be read or written" in done.err
    assert not done.out


@pytest.mark.parametrize(
    ("options", "name"),
    [(("--modes", "eager"), "resnet20_se"), (("--per-block", "--check", "3"), "latency_resnet20_se")],
)
def test_what_was_measured_before_is_kept(
    in_process: Script, tmp_path: Path, options: tuple[str, ...], name: str
) -> None:
    for last in (name, f"{name}_2"):
        assert in_process("--arch", "resnet20", *TINY, *options) == 0
        assert {file.stem for file in (tmp_path / "work_dirs/benchmark").glob("*.json")} >= {name, last}
        (tmp_path / f"work_dirs/benchmark/{last}.json").write_text("kept")
        assert (tmp_path / f"work_dirs/benchmark/{last}.png").exists()
    assert (tmp_path / f"work_dirs/benchmark/{name}.json").read_text() == "kept"


def test_a_latency_table_of_every_block_and_its_check(
    in_process: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--arch", "resnet20", "--attention", "se", "--per-block", "--attention-options", "reduction=8")
    assert in_process(*options, *TINY, "--check", "3", "--output", "t.json") == 0
    table = LatencyTable.load(tmp_path / "t.json")
    assert (table.arch, table.attention, table.options, table.sharing) == ("resnet20", "se", {"reduction": 8}, "stage")
    assert (table.batch_size, table.image_size, table.setting, table.rounds) == (2, 8, "eager", 3)
    assert len(table.check["schemes"]) == 3
    told = capsys.readouterr().out
    assert "stage 3 block 3" in told
    assert f"error of the prediction: mean {table.check['bias']:+.2f}, at most {table.check['max']:.2f}" in told
    for row in table.check["schemes"]:
        assert f"{row['predicted']:+.2f}" in told
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_help_names_every_mode(in_process: Script, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {mode} " in shown for mode in MODES)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--arch", "resnet21"], "unknown architecture 'resnet21'"),
        (["--arch", "resnet20", "--attention", "sse"], "unknown attention 'sse'"),
        (["--arch", "resnet20", "--scheme", "0101"], "4 bits but the network needs 9"),
        (["--arch", "resnet20", "--modes", "fast"], "unknown mode 'fast'"),
        (["--arch", "resnet20", "--scheme", "0" * 9, "1" * 9], "got 2"),
        (["--arch", "resnet20", "--device", "toaster"], "--device toaster cannot be used"),
        (["--arch", "resnet20", "--output", "record.txt"], "ends with .json"),
        (["--arch", "resnet20", "--per-block", "--attention", "se", "sge"], "--per-block measures one attention"),
        (["--arch", "resnet20", "--per-block", "--sharing", "all"], "sharing must be one of"),
        (["--arch", "resnet20", "--sharing", "block"], "go with --per-block"),
        ([], "no architecture"),
    ],
)
def test_mistakes_are_a_sentence(
    arguments: list[str],
    sentence: str,
    in_process: Script,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert in_process(*arguments) == 2
    *usage, said = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"(benchmark.py: )?error: .*{re.escape(sentence)}.*", said)
    assert len(usage) <= 1
    assert not list(tmp_path.iterdir())
