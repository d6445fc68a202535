"""The speed comparisons, run as a user runs them on the smallest of everything: they check that both sides agree."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ean_core import create_model
from ean_core.networks import count_parameters
from tests.conftest import ROOT, Run


def record(path: Path) -> dict[str, Any]:
    """Read the record that a comparison wrote."""
    content = json.loads(path.read_text())
    assert content["kind"] == "speed"
    return content


@pytest.mark.parametrize(
    "name", ["scoring", "training", "network", "counting", "segmentors", "processes", "allocators"]
)
def test_an_earlier_record_is_kept(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    parse = importlib.import_module(name).parse_arguments
    first = parse().output
    first.parent.mkdir()
    first.touch()
    assert parse().output == first.with_stem(f"{first.stem}_2")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--output", str(first)])
    assert parse().output == first  # the user's word


def test_scoring(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    config = ROOT / "classification/configs/quickstart_digits.py"
    options = ("--config", config, "--sides", "ours-float32", "--output", out)
    done = run("benchmarks/scoring.py", "--quick", *options)
    written = record(out)
    rows = written["metrics"]
    assert list(rows) == ["plain", "ours-float32"]
    assert all(len(row["seconds"]) == 3 for row in rows.values())  # 6 proposals, 2 a turn
    assert rows["ours-float32"]["largest_difference_points"] == 0.0
    assert f"{rows['ours-float32']['times_as_fast_whole_stretch']:5.2f}x" in done.stdout
    assert written["settings"]["images"] == 40


def test_training(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    done = run("benchmarks/training.py", "--quick", "--sides", "bare", "engine", "--output", out)
    rows = record(out)["metrics"]
    assert list(rows) == ["plain", "bare", "engine"]
    assert rows["engine"]["over_bare"]["value"] > 0
    assert "engine takes" in done.stdout


def test_network(run_here: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    done = run_here("benchmarks/network.py", "--quick", "--modes", "folded", "fused", "--output", out)
    written = record(out)
    assert list(written["metrics"]) == ["plain", "folded"]
    assert len(written["metrics"]["folded"]) == 7
    assert all(row["difference"] < 1e-3 for rows in written["metrics"].values() for row in rows.values())
    assert "skipped fused: fused needs a CUDA device, and this runs on cpu" in done.stdout
    error = run_here("benchmarks/network.py", "--modes", "foldet", code=2).stderr
    assert "did you mean 'folded'" in error


def test_a_mode_that_differs_loses_no_other_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import network

    from ean_core import EANError

    out, modes, written = tmp_path / "record.json", ("bf16", "folded", "channels_last"), []

    def measured(mode: str, *_: Any) -> dict[str, Any]:
        written.append(list(record(out)["metrics"]) if out.exists() else [])
        if mode == "bf16":
            raise EANError("EAN in bf16 differs")
        return {"Org": mode}

    monkeypatch.setattr(network, "measure_mode", measured)
    monkeypatch.setattr(network, "show", lambda *_: None)
    monkeypatch.setattr("ean_core.utils.allocator.keep_freed_memory", lambda: False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # and put back
    monkeypatch.setattr(sys, "argv", ["network.py", "--quick", "--modes", *modes, "--output", str(out)])
    with pytest.raises(SystemExit) as stopped:
        network.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: EAN in bf16 differs\n"
    content = record(out)
    assert list(content["metrics"]) == ["plain", "folded", "channels_last"]
    assert content["settings"]["skipped"] == {"bf16": "EAN in bf16 differs"}
    assert written == [[], ["plain"], ["plain"], ["plain", "folded"]]  # as far as it had come


def test_memory_is_the_gpus_where_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import ab_harness

    assert ab_harness.peak_mib() > 1
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 3 << 20)
    assert ab_harness.peak_mib() == 3


def test_density(run_here: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    run_here("benchmarks/counting.py", "--quick", "--part", "density", "--output", out)
    rows = record(out)["metrics"]["density"]
    assert set(rows) == {"fixed:4", "adaptive"}
    assert all(row["difference"] < 1e-3 for row in rows.values())


def test_prediction(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    run("benchmarks/counting.py", "--quick", "--part", "prediction", "--output", out)
    rows = record(out)["metrics"]["prediction"]["0.1 megapixels"]
    assert rows["whole"]["tiles"] == 1 < rows["tiles"]["tiles"]
    assert rows["whole"]["count"] == pytest.approx(rows["tiles"]["count"], rel=0.05)
    assert rows["whole"]["peak_mib"] > 0 < rows["whole"]["megapixels_per_second"]


def test_segmentors(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    done = run("benchmarks/segmentors.py", "--quick", "--sides", "folded", "cuda_graph", "--output", out)
    assert "skipped cuda_graph: cuda_graph needs a CUDA device, and this runs on cpu" in done.stdout
    rows = record(out)["metrics"]["0.02 megapixels"]
    assert list(rows) == ["plain", "folded"]
    assert rows["plain"]["difference"] == 0 <= rows["folded"]["difference"] < 1e-4
    assert all(row["peak_mib"] > 0 and row["megapixels_per_second"] > 0 for row in rows.values())


def test_processes(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    run("benchmarks/processes.py", "--quick", "--output", out)
    rows = record(out)["metrics"]
    reduced = rows.pop("all_reduce")
    assert set(rows) == {"scoring", "training"}
    assert all(set(work) == {"1", "2"} and work["1"]["efficiency"] == 1.0 for work in rows.values())
    assert rows["scoring"]["1"]["images_per_second"] == pytest.approx(20 / rows["scoring"]["1"]["seconds"][0])
    sent = 4 * count_parameters(create_model("resnet20", attention="se"))  # by each of two, 2 (N - 1) / N of them
    assert reduced["2"]["bytes_per_second"] == pytest.approx(sent / reduced["2"]["seconds"][0])


def test_allocators(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    run("benchmarks/allocators.py", "--quick", "--sides", "kept", "--output", out)
    rows = record(out)["metrics"]
    assert list(rows) == ["libc", "kept"]
    assert rows["libc"]["times_as_fast"]["value"] == 1 < rows["kept"]["milliseconds"] * 1000


def test_an_allocator_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import allocators

    monkeypatch.setattr(allocators.ctypes.util, "find_library", lambda name: {"tcmalloc": "libtcmalloc.so.4"}.get(name))
    libraries = {side: allocators.library_of(side) for side in allocators.SIDES}
    assert libraries == {"libc": "", "kept": "", "tcmalloc": "libtcmalloc.so.4", "jemalloc": None}


def test_decoding(run_here: Run, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    done = run_here("benchmarks/decoding.py", "--quick", "--output", out)
    assert "training" in done.stdout
    assert "evaluation" in done.stdout
    rows = record(out)["metrics"]
    assert all(row["images_per_second"] > 0 for part in rows.values() for row in part.values())
    empty = run_here("benchmarks/decoding.py", "--quick", "--images", tmp_path, "--output", out, code=2)
    assert "no .jpg files" in empty.stderr


def test_decoding_finds_imagenets_files(tmp_path: Path) -> None:
    import decoding

    for name in ("n01440764/a.JPEG", "n01443537/b.jpeg", "c.jpg", "d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths = decoding.files(argparse.Namespace(images=tmp_path, count=9), tmp_path)
    assert [Path(path).name for path in paths] == ["c.jpg", "a.JPEG", "b.jpeg"]


def test_a_side_that_differs_is_not_compared() -> None:
    from scoring import check_equal

    from ean_core import EANError

    assert check_equal("ours-float32", [50.0, 60.1], [50.0, 60.0], 1000, device="cpu") == pytest.approx(0.1)
    with pytest.raises(EANError, match=r"differs from plain by 0\.200 points and may by 0\.100"):
        check_equal("ours-float32", [50.0, 60.2], [50.0, 60.0], 1000, device="cpu")
    for side, device in (("ours-bfloat16", "cpu"), ("ours-float32", "cuda")):
        check_equal(side, [50.7], [50.0], 1000, device=device)  # half a standard error is 0.79 points
        check_equal(side, [1.3], [1.0], 1000, device=device)  # 3 images
        with pytest.raises(EANError, match=side):
            check_equal(side, [50.9], [50.0], 1000, device=device)


def test_sides_of_training_that_differ_are_not_compared() -> None:
    from training import check_losses, check_weights

    from ean_core import EANError

    check_losses({"plain": {"loss": 4.0}, "bare": {"loss": 4.0001}, "fast": {"loss": 4.05}}, device="cpu")
    with pytest.raises(EANError, match=r"bare has loss 4\.05 where plain has 4\.0"):
        check_losses({"plain": {"loss": 4.0}, "bare": {"loss": 4.05}}, device="cpu")
    check_losses({"plain": {"loss": 4.0}, "bare": {"loss": 4.05}}, device="cuda")  # in TF32
    with pytest.raises(EANError, match="nan"):
        check_losses({"plain": {"loss": 4.0}, "fast": {"loss": float("nan")}}, device="cuda")
    turns = {
        "bare": [{"weights": 100.0, "begun": 90.0}, {"weights": 120.0, "begun": None}],
        "engine": [{"weights": 100.001, "begun": 91.0}, {"weights": 125.0, "begun": None}],
    }
    check_weights(turns, device="cuda")  # whose sums of gradients have no fixed order
    with pytest.raises(EANError, match="bare ends with weights"):
        check_weights(turns, device="cpu")
    with pytest.raises(EANError, match=r"bare ends with weights 90\.0 and engine with 100\.0"):
        check_weights({**turns, "engine": [{"begun": 100.0}]}, device="cuda")


def test_networks_processes_and_tiles_that_differ_are_not_compared() -> None:
    import ab_harness
    import counting
    import processes

    from ean_core import EANError

    logits = torch.ones(2, 3)
    assert ab_harness.check_equal("EAN", logits, logits, 0.0) == 0.0
    with pytest.raises(EANError, match=r"EAN differs by 0\.1 and may by 0\.01"):
        ab_harness.check_equal("EAN", logits, 1.1 * logits, 0.01)
    turn = {"same": True, "result": 50.0}
    processes.check_equal("scoring", [[turn], [turn]])
    with pytest.raises(EANError, match="depend on the number of processes"):
        processes.check_equal("scoring", [[turn], [{**turn, "result": 51.0}]])
    with pytest.raises(EANError, match="hold different results"):
        processes.check_equal("training", [[{**turn, "same": False}]])
    with pytest.raises(EANError, match=r"whole counts 10\.00 and tiles count 11\.00"):
        counting.check_counts({"whole": [{"count": 10.0}], "tiles": [{"count": 11.0}]})


def test_ratio_of_interleaved_turns() -> None:
    from ab_harness import in_words, interleave, row, times_as_fast

    order = []

    def side(name: str, seconds: float):
        return lambda: order.append(name) or {"seconds": seconds}

    turns = interleave({"slow": side("slow", 3.0), "fast": side("fast", 1.5)}, 2)
    assert order == ["slow", "fast", "fast", "slow"]
    ratio = times_as_fast(turns["slow"], turns["fast"])
    assert ratio.value == 2.0
    assert in_words(ratio) == "2.00x", "two rounds are too few for an interval"
    assert row(turns["slow"], turns["fast"])["times_as_fast"] == {"value": 2.0, "low": None, "high": None}
    assert in_words(times_as_fast(turns["slow"] * 3, turns["fast"] * 3)) == "2.00x (2.00 to 2.00)"


def test_a_side_that_stops_says_so(tmp_path: Path) -> None:
    from ab_harness import Side

    from ean_core import EANError

    script = tmp_path / "stops.py"
    script.write_text("import sys; sys.exit(3)")
    with pytest.raises(EANError, match="has stopped with status 3"):
        _ = Side(script, []).ready


def test_a_side_that_the_system_ended_says_why(tmp_path: Path) -> None:
    from ab_harness import Side

    from ean_core import EANError

    script = tmp_path / "killed.py"
    script.write_text("print('{}', flush=True)\ninput()")
    side = Side(script, [])
    assert side.ready == {}
    side.process.kill()
    side.process.wait()
    with pytest.raises(EANError, match="has stopped with status -9: the system ended it, which it does for want of"):
        side()
