"""The commands that users type, on tiny data: from search to test, killed and resumed, in one process and in two."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from ean_core.networks.network_file import load_network
from ean_core.pipeline.pipeline import run_pipeline
from ean_core.pipeline.retrain import unpack_results
from ean_core.search.history import read_lines
from ean_core.training.hooks import SaveState
from ean_core.training.work_dir import LOCK
from tests.conftest import ROOT, Run, Script
from tests.helpers.processes import environment, warm_python
from tests.helpers.ranks import torchrun

SHIPPED = "ean_se_resnet20_cifar100_subset30k"


def test_search_train_and_test_commands(run_here: Run, tiny: Path, tmp_path: Path) -> None:
    short = ("--cfg-options", "search.steps=3", "train.epochs=1", "retrain=['ean']")
    done = run_here("tools/search.py", tiny, "--work-dir", "w", *short)
    for word in ("tiny: resnet20 with se, digits: 120 training images", "scheme found", "EAN", "w/: scheme.json"):
        assert word in done.stdout
    ean = re.search(r"^EAN: (w/ean-\w+-seed0/classifier.pth)$", done.stdout, flags=re.MULTILINE)
    assert (tmp_path / ean[1]).exists()
    again = run_here("tools/search.py", tiny, "--work-dir", "w", *short, code=2)
    assert "holds an earlier run: give --resume" in again.stderr
    trained = run_here(
        "tools/train_cls.py", tiny, "--scheme", "org-full", "w/scheme.json", "--seeds", 0, 1, "--work-dir", "t",
        "--cfg-options", "train.epochs=1",
    )  # fmt: skip
    assert "(n=2)" in trained.stdout
    assert len(list((tmp_path / "t").glob("*-seed?/classifier.pth"))) == 4
    directory = next((tmp_path / "t").glob("ean-*-seed0"))
    tested = run_here("tools/test.py", tiny, directory / "classifier.pth")
    record = json.loads((directory / "test.json").read_text())
    trained_top1 = json.loads((directory / "result.json").read_text())["metrics"]["top1"]
    assert record["metrics"]["top1"] == pytest.approx(trained_top1)
    assert f"top-1 {trained_top1:.2f} %" in tested.stdout
    rows = (directory / "confusion.csv").read_text().splitlines()
    assert len(rows) == 11
    assert sum(int(value) for row in rows[1:] for value in row.split(",")[1:]) == 500
    other = next((tmp_path / "t").glob("ean-*-seed1"))
    refused = run_here("tools/test.py", tiny, other / "classifier.pth", "--out-dir", directory, code=2)
    assert "test.json holds a result of checkpoint" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tools/search.py", "none.py"], "configuration none.py does not exist"),
        (["tools/search.py", "tiny.py", "--method", "eam"], "unknown search method 'eam': choose one of ean"),
        (["tools/search.py", "tiny.py", "--attention", "see"], "unknown attention 'see'"),
        (["tools/search.py", "tiny.py", "--cfg-options", "data.name=cifar100"], "cifar-100-python"),
        (["tools/train_cls.py", "tiny.py", "--scheme", "0101"], "has 4 bits but the network needs 9"),
        (["tools/train_cls.py", "tiny.py", "--attention", "dia", "--scheme", SHIPPED], "was found for attention 'se'"),
        (["tools/train_cls.py", "tiny.py", "--scheme", "none.json"], "scheme file none.json does not exist"),
        (["tools/test.py", "tiny.py", "none.pth"], "none.pth does not exist"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_mistakes_get_a_sentence(
    script: Script, tiny: Path, capsys: pytest.CaptureFixture, arguments: list[str], sentence: str
) -> None:
    assert tiny.exists()
    assert script(*arguments) == 2
    printed = capsys.readouterr()
    last = printed.err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert sentence in last
    assert "--scheme" not in arguments or not printed.out  # refused before the data is read


def test_a_training_whose_directory_is_removed_stops(
    script: Script, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(hook: SaveState, runner: object) -> None:
        shutil.rmtree(tmp_path / "w", ignore_errors=True)
        original(hook, runner)

    original = SaveState.after_train_epoch
    monkeypatch.setattr(SaveState, "after_train_epoch", remove)
    options = ("--work-dir", "w", "--scheme", "org", "--cfg-options", "train.epochs=2")
    assert script("tools/train_cls.py", tiny, *options) == 2
    assert "w was removed or replaced while this run was working in it" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_how_the_device_runs_it_is_chosen_printed_and_recorded(
    script: Script, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ean_core.training.device_defaults.has_bfloat16", lambda _: True)
    given = ("train.epochs=1", "train.channels_last=False", "supernet.channels_last=False")
    for flags, precision in (((), "float32"), (("--fast",), "bfloat16")):
        work = tmp_path / precision
        options = ("--work-dir", work, *flags, "--scheme", "org", "--cfg-options", *given)  # which go before --fast
        assert script("tools/train_cls.py", tiny, *options) == 0
        assert f"train and supernet in {precision}, channels_first" in capsys.readouterr().out
        recorded = json.loads((work / "org-seed0/result.json").read_text())["settings"]["train"]
        assert [recorded[name] for name in ("precision", "channels_last", "cuda_graph")] == [precision, False, False]


def test_kill_9_and_resume_gives_the_uninterrupted_scheme(job, tiny: Path, tmp_path: Path) -> None:
    run_pipeline(job("whole", **{"search.steps": 60}), retrain=False)
    command = [
        warm_python(), str(ROOT / "tools/search.py"), str(tiny), "--work-dir", "cut", "--no-retrain", "--resume",
        "--data-root", str(tmp_path), "--cfg-options", "search.steps=60",
    ]  # fmt: skip
    variables = environment(CUDA_VISIBLE_DEVICES="")
    for sign in ("supernet/last.pth", "history.jsonl"):
        process = subprocess.Popen(command, cwd=tmp_path, env=variables, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not (tmp_path / "cut" / sign).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it had ended before it could be killed"
        with FileLock(tmp_path / "cut" / LOCK, timeout=60):  # the process itself, of which `process` is the client
            pass
    subprocess.run(command, cwd=tmp_path, env=variables, check=True, stdout=subprocess.DEVNULL)
    stages = [json.loads((tmp_path / name / "scheme.json").read_text())["stages"] for name in ("whole", "cut")]
    assert stages[0] == stages[1]
    lines = [
        [(line.step, line.bits, line.accuracy) for line in read_lines(tmp_path / name / "history.jsonl")]
        for name in ("whole", "cut")
    ]
    assert lines[0] == lines[1]


def test_two_processes_train_both_networks_and_score_what_one_scores(job, tiny: Path, tmp_path: Path) -> None:
    options = ("--work-dir", "two", "--cfg-options", "retrain=['ean']")
    done = torchrun("tools/search.py", tiny, *options, directory=tmp_path)
    assert "2 processes" in done.stdout
    assert done.stdout.count("scheme found") == 1
    assert not list(tmp_path.glob(".dist_test"))
    for part in ("supernet", "supernet.pth"):
        source, target = tmp_path / "two" / part, tmp_path / "one" / part
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    alone = job("one", resume=True)
    run_pipeline(alone, retrain=False)
    lines = [
        [(line.bits, line.accuracy, line.reward) for line in read_lines(tmp_path / name / "history.jsonl")]
        for name in ("one", "two")
    ]
    assert lines[0] == lines[1]
    trained = next((tmp_path / "two").glob("ean-*-seed0"))
    metrics = json.loads((trained / "result.json").read_text())["metrics"]
    assert metrics["images"] == 500  # the test images are shared out exactly
    images, network = alone.task.images, load_network(trained / "classifier.pth")[0]
    with torch.no_grad():
        predicted = network(images.normalize(channels_last=False)(images.data.test.images)).argmax(1)
    right = (predicted == images.data.test.labels).numpy()
    assert np.array_equal(unpack_results(metrics["per_image"]), right)  # each in its place
