"""The script with all figures that need a GPU: rehearsed with a Python that only notes what it was asked for."""

from __future__ import annotations

import os
import pickle
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

import classification.train
from classification.recipe import Recipe
from ean_core.cli import parse_options
from ean_core.deploy.modes import MODES
from tests.conftest import ROOT
from tests.helpers.archives import extract_all
from tests.helpers.processes import warm_python

SCRIPT = ROOT / "benchmarks/on_gpu.sh"
RUN = "ean_se_r164_cifar100"
PYTHON = r"""#!/usr/bin/env bash
# Notes its arguments, a line each call, and leaves what the command would: large files where networks are trained.
case "$1" in -c) exit 1 ;; esac
printf '%s\t' "$@" >> calls; echo >> calls
run=work_dirs/gpu/ean_se_r164_cifar100
network() { mkdir -p "$run/$1"; head -c 8000000 /dev/urandom > "$run/$1/classifier.pth"; touch "$run/$1/last.pth"; }
case "$* " in
  *--no-retrain*)
    mkdir -p $run/supernet
    head -c 20000000 /dev/urandom > $run/supernet/last.pth
    [ -z "${CUT:-}" ] || exit 124
    head -c 8000000 /dev/urandom > $run/supernet.pth; echo {} > $run/scheme.json ;;
  *"seeds=[0]"* | *"--seeds 0 --"*) network org-seed0; network ean-abc-seed0 ;;
  *"seeds=[0,1]"* | *"--seeds 0 1 --"*) network org-seed1 ;;
esac
while [ $# -gt 0 ]; do [ "$1" != --output ] || echo {} > "$2"; shift; done
[ -z "${FAIL:-}" ] || ! grep -q "$FAIL" <<< "$(tail -n 1 calls)"
"""

Rehearse = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def rehearse(tmp_path: Path) -> Rehearse:
    """`rehearse("networks", LIMIT="60")` runs the script's steps in the test's directory, without a GPU."""
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "data/cifar-100-python").mkdir(parents=True)

    def run(*steps: str, **variables: str) -> subprocess.CompletedProcess:
        clean = {name: value for name, value in os.environ.items() if name not in ("OUT", "IN", "COMMIT", "LIMIT")}
        given = {"PY": str(tmp_path / "python"), "QUICK": "1", **variables}
        return subprocess.run(
            ["bash", SCRIPT, *steps], cwd=tmp_path, env=clean | given, capture_output=True, text=True, timeout=120
        )

    return run


def calls(directory: Path) -> list[list[str]]:
    """What the script's Python was asked for since the last time that this was asked."""
    path = directory / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.rstrip("\t").split("\t") for line in lines]


def done(directory: Path) -> set[str]:
    return {path.name for path in (directory / "work_dirs/gpu/done").iterdir()}


def unpacked(out: Path, into: Path) -> set[str]:
    """The files that a call brings home."""
    with tarfile.open(out / "records.tgz") as records:
        extract_all(records, into)
    pieces = sorted(out.glob("weights.tar.*"))
    (into / "weights.tar").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    if pieces:
        with tarfile.open(into / "weights.tar") as weights:
            extract_all(weights, into)
    (into / "weights.tar").unlink()
    return {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}


def test_every_file_that_it_names_is_there() -> None:
    paths = set(re.findall(r"(?:benchmarks|tests|tools|schemes|classification)/[\w./]+\w", SCRIPT.read_text()))
    assert len(paths) > 12
    assert {word for word in paths if not (ROOT / word).exists()} == set()


def test_every_test_that_it_names_is_there() -> None:
    names = re.findall(r"(tests/[\w/]+\.py)::(\w+)", SCRIPT.read_text())
    assert len(names) == 2
    assert all(f"def {name}(" in (ROOT / path).read_text() for path, name in names)


def test_all_of_it_in_order_and_nothing_twice(rehearse: Rehearse, tmp_path: Path) -> None:
    first = rehearse("smoke", COMMIT="abc")
    assert first.returncode == 0, first.stderr
    (smoke,) = calls(tmp_path)
    assert smoke[:5] == ["-m", "pytest", "-q", "-m", "gpu and not slow and not timing"]
    assert rehearse().returncode == 0
    asked = calls(tmp_path)
    programs = [Path(call[0]).name for call in asked]
    assert programs == [
        *("search.py", "search.py"),
        *("network.py", "network.py", "network.py", "training.py"),
        *("search.py", "search.py"),
        *("benchmark.py", "training.py", "training.py", "processes.py"),
    ]
    assert "--no-retrain" in asked[0]
    assert ["seeds=[0]" in asked[1], "seeds=[0,1]" in asked[6], "seeds=[0,1,2]" in asked[7]] == [True] * 3
    rehearse()
    assert calls(tmp_path) == []
    for call in asked:
        check_command(call)


def check_command(call: list[str]) -> None:
    """The command knows its arguments, and the recipe its fields."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", call)
        patched.syspath_prepend(str(ROOT / Path(call[0]).parent))
        parse = runpy.run_path(str(ROOT / call[0])).get("parse_arguments", classification.train.parse_arguments)
        arguments = parse(call[1:]) if signature(parse).parameters else parse()
    assert set(getattr(arguments, "modes", None) or []) <= set(MODES)
    if hasattr(arguments, "cfg_options"):
        recipe = Recipe.from_file(ROOT / arguments.config, parse_options(arguments.cfg_options))
        assert (arguments.fast, arguments.resume) == (True, True)
        assert (recipe.supernet.epochs, recipe.train.epochs, recipe.search.steps) == (2, 2, 5)
        assert recipe.note == "Supernet and networks were trained for 2 epochs each, with a schedule of our own."


def test_what_is_worth_it_is_brought_home_in_pieces_and_goes_on_elsewhere(rehearse: Rehearse, tmp_path: Path) -> None:
    assert "search: status 124" in rehearse("search", CUT="1").stdout
    out = tmp_path / "work_dirs/gpu_out"
    assert f"{RUN}/supernet/last.pth" in unpacked(out, tmp_path / "one")  # what was cut off is gone on with
    rehearse("search", "retraining", "networks", COMMIT="abc")
    names = unpacked(out, tmp_path / "two")
    networks = {f"{RUN}/{name}/classifier.pth" for name in ("org-seed0", "ean-abc-seed0")}
    assert {f"{RUN}/supernet.pth", f"{RUN}/scheme.json", "logs/search.log"} | networks <= names
    assert "records/speed_network_resnet164_b50_gpu.json" in names
    assert not any(name.endswith("last.pth") for name in names)
    sizes = [path.stat().st_size for path in out.iterdir()]
    assert max(sizes) <= 15_000_000
    assert len(sizes) <= 8
    calls(tmp_path)
    for path in out.iterdir():  # as a machine does that brings home what the latest call left
        path.unlink()
    rehearse("search")
    assert unpacked(out, tmp_path / "three") == names
    before = done(tmp_path)
    (tmp_path / "work_dirs").rename(tmp_path / "elsewhere")
    rehearse("search", "retraining", "networks", IN=str(tmp_path / "elsewhere/gpu_out"))
    assert calls(tmp_path) == []
    assert done(tmp_path) == before
    assert (tmp_path / "work_dirs/gpu" / RUN / "org-seed0/classifier.pth").stat().st_size == 8_000_000


def test_a_scheme_of_an_earlier_machine_is_trained_with_other_seeds(rehearse: Rehearse, tmp_path: Path) -> None:
    rehearse("search", "retraining", "seeds", SCHEME="schemes/found.json", SEEDS="3 4")
    one, two = calls(tmp_path)
    assert one[0] == two[0] == "tools/train_cls.py"
    assert " ".join(one).count("--scheme org share-full schemes/found.json --seeds 3 --cfg-options") == 1
    assert " ".join(two).count("--scheme org share-full schemes/found.json --seeds 3 4 --cfg-options") == 1
    check_command(one)


def test_a_step_begins_only_if_it_can_end_and_one_that_fails_costs_no_other(rehearse: Rehearse, tmp_path: Path) -> None:
    late = rehearse("networks", "training", LIMIT="50")
    assert "network_resnet164_b50: left out" in late.stdout
    assert [Path(call[0]).name for call in calls(tmp_path)] == ["training.py"]
    failed = rehearse("networks", "training", FAIL="resnet50")
    assert "network_resnet50_b50: status 1" in failed.stdout
    assert done(tmp_path) == {"training", "network_resnet164_b50", "network_resnet164_b1"}
    calls(tmp_path)
    rehearse("networks")
    assert [call[2] for call in calls(tmp_path)] == ["resnet50"]


def test_training_is_timed_without_a_graph_where_it_cannot_be_captured(rehearse: Rehearse, tmp_path: Path) -> None:
    rehearse("training", FAIL="fast-graph")
    assert [call[-1] for call in calls(tmp_path)] == ["fast-graph", "fast"]
    assert done(tmp_path) == {"training_without_graph"}


def test_a_command_that_hangs_is_ended_in_time_to_pack(rehearse: Rehearse, tmp_path: Path) -> None:
    """With a `timeout` that notes its seconds, and does not wait for them."""
    (tmp_path / "timeout").write_text('#!/bin/sh\necho "$3" >> limits\nexit 124\n')
    (tmp_path / "timeout").chmod(0o755)
    output = rehearse("networks", LIMIT="80", PATH=f"{tmp_path}:{os.environ['PATH']}").stdout
    assert output.count("status 124") == 3
    assert all(60 <= int(line) <= 68 for line in (tmp_path / "limits").read_text().split())
    assert done(tmp_path) == set()
    assert (tmp_path / "work_dirs/gpu_out/records.tgz").exists()


def test_images_that_are_not_there_cost_nothing(rehearse: Rehearse, tmp_path: Path) -> None:
    output = rehearse("search", "retraining", DATA="nowhere").stdout
    assert "search: left out, no cifar-100-python in nowhere" in output
    assert "retraining_seed0: left out, no scheme was found yet" in output
    assert calls(tmp_path) == []


def test_a_wrong_step_and_a_machine_without_a_gpu_are_refused(rehearse: Rehearse, tmp_path: Path) -> None:
    wrong = rehearse("smok")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "no step 'smok': give some of smoke search retraining networks training seeds more\n",
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bash").symlink_to(str(shutil.which("bash")))
    without = rehearse(QUICK="", PATH=str(tmp_path / "bin"))
    assert without.returncode == 2
    assert "error: these measurements need a GPU" in without.stderr
    assert not (tmp_path / "work_dirs").exists()


@pytest.mark.slow
def test_a_real_search_on_a_cpu(rehearse: Rehearse, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, each in (("train", 5), ("test", 1)):
        labels = np.repeat(np.arange(100), each)
        images = rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        content = {"data": images, "fine_labels": labels.tolist()}
        (tmp_path / "data/cifar-100-python" / part).write_bytes(pickle.dumps(content))
    names = {"fine_label_names": [f"class {number}" for number in range(100)]}
    (tmp_path / "data/cifar-100-python/meta").write_bytes(pickle.dumps(names))
    for name in ("benchmarks", "classification", "ean_core", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    output = rehearse("search", PY=warm_python(), CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1").stdout
    assert "search: status 0" in output, output
    assert "channels_last" in (tmp_path / "work_dirs/gpu/logs/search.log").read_text()
    assert {f"{RUN}/supernet.pth", f"{RUN}/scheme.json"} <= unpacked(tmp_path / "work_dirs/gpu_out", tmp_path / "home")
