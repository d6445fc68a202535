"""What a first-time user meets: help, mistakes, no GPU, too little memory, and output that is not a terminal."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import warnings
from argparse import ArgumentTypeError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from landscape_suite import LANDSCAPES
from torch.utils.data import DataLoader

from classification.recipe import Recipe
from ean_core import cli
from ean_core.cli import at_least, backends_of, not_negative, positive, seed
from ean_core.pipeline.fit import fit
from ean_core.pipeline.task import TrainingRun
from ean_core.search.reward_landscapes import KINDS
from ean_core.utils.devices import choose_device
from ean_core.utils.errors import EANError, batch_of, command
from ean_core.utils.failure_messages import out_of_memory
from ean_core.utils.progress import bar
from ean_core.utils.screen import console
from ean_core.utils.startup import prepare
from ean_core.utils.task_registry import task_of_config
from tests.conftest import ROOT, Script
from tests.helpers.processes import python_path

FOLDERS = ("tools", "crowd_counting", "segmentation", "benchmarks", "classification")
COMMANDS = [
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in sorted((ROOT / folder).glob("[!_]*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]
HEAVY = {
    "torch",
    "torchvision",
    "numpy",
    "mmengine",
    "mmcv",
    "mmseg",
    "matplotlib",
    "scipy",
    "sklearn",
    "timm",
    "cv2",
    "PIL",
}


def test_the_commands_are_found() -> None:
    assert {"tools/search.py", "crowd_counting/train.py", "benchmarks/attention_zoo.py"} <= set(COMMANDS)


SHOW_HELP = """\
import contextlib, io, json, runpy, sys

shown = {}
for script in sys.argv[1:]:
    before = set(sys.modules)
    sys.argv[:] = [script, "--help"]
    sys.path.insert(0, script.rpartition("/")[0])  # where it finds its neighbours
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as stop:
            assert not stop.code, script
    del sys.path[0]
    shown[script] = text.getvalue(), sorted({name.partition(".")[0] for name in set(sys.modules) - before})
print(json.dumps(shown))
"""


@pytest.fixture(scope="module")
def shown() -> dict[str, tuple[str, list[str]]]:
    """What every command shows for --help, and the packages that it is the first to import, in one fresh Python."""
    scripts = [str(ROOT / name) for name in COMMANDS]
    variables = {"PYTHONPATH": python_path(), "PATH": "", "COLUMNS": "120"}
    command = [sys.executable, "-c", SHOW_HELP, *scripts]
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("script", COMMANDS)
def test_help_starts_with_an_example_and_imports_nothing_heavy(
    script: str, shown: dict[str, tuple[str, list[str]]]
) -> None:
    """Heavy imports are what makes help slow, and unlike seconds they do not depend on what else the machine does."""
    text, imported = shown[str(ROOT / script)]
    after_usage = text.split("\n\n", 1)[1]
    assert re.match(rf"examples?:\n  (torchrun .*)?python {script}", after_usage), after_usage[:200]
    assert not HEAVY & set(imported)
    assert "\x1b" not in text


NUMBERS = re.compile(
    r"add(?:_argument)?\(\s*\"(--[\w-]+)\",\s*type=(?:at_least\((\d+)\)|positive|(seed))(?:,\s*nargs=(2))?"
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_number_too_small_is_refused_at_once(
    name: str, script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend((ROOT / name).parent)  # where a script finds its neighbours
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"type=(int|float),(?! default=list)", text), "numbers without a least one"
    for flag, least, seeded, values in NUMBERS.findall(text):
        value = int(least) - 1 if least else 2**32 if seeded else 0
        assert script(name, flag, *[value] * int(values or 1)) == 2
        assert re.search(rf"error: argument {flag}: expected a .*, got '{value}'", capsys.readouterr().err), flag


def test_numbers_of_arguments() -> None:
    assert at_least(0)("0") == 0
    assert positive("0.5") == 0.5
    assert [not_negative(text) for text in ("0", "0.00", "1e-3")] == [0, 0, 0.001]
    assert seed("4294967295") == 2**32 - 1
    for kind, text in (
        *((at_least(1), "0"), (at_least(0), "1.5"), (at_least(0), ""), (positive, "0"), (positive, "nan")),
        *((seed, "-1"), (seed, "4294967296"), (not_negative, "-0.1"), (not_negative, "inf"), (not_negative, "nan")),
    ):
        with pytest.raises(ArgumentTypeError, match="expected"):
            kind(text)


def test_the_landscapes_of_the_help_are_those_there_are() -> None:
    assert list(LANDSCAPES) == list(KINDS)


def test_a_name_that_the_terminal_cannot_show_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding="utf-8"))
    command(lambda: print("caf\udce9.png é", flush=True))()
    assert content.getvalue() == rb"caf\udce9.png " + "é\n".encode()


def test_a_removed_current_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match="2"):
        command(print)()
    assert capsys.readouterr().err == "error: the current directory was removed: change to one that exists\n"


@pytest.mark.parametrize(("mask", "mode"), [(0o777, 0o700), (0o277, 0o700), (0o022, 0o755)])
def test_the_owner_can_read_what_a_command_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int, mode: int
) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    before = os.umask(mask)
    try:
        command(lambda: (tmp_path / "folder").mkdir())()
    finally:
        os.umask(before)
    assert (tmp_path / "folder").stat().st_mode & 0o777 == mode


def test_torch_says_nothing_about_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        prepare()
        DataLoader(range(4), num_workers=500)
    assert not said


def failing(error: BaseException):
    """A command whose main function raises this error."""

    @command
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has .."), "CUDA out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory: .."), "memory"),
        (RuntimeError("CUDA error: out of memory"), "CUDA error: out of memory"),
    ],
)
def test_too_little_memory_is_a_sentence(error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        failing(error)()
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert re.fullmatch(r"error: out of memory.*: give a smaller batch size\n", message), message
    assert sentence in message
    for images, advice in ((64, "try --batch-size 32"), (1, "use smaller images or a smaller network")):
        what = rf"^out of memory.* at batch size {images}: {advice}$"
        with pytest.raises(EANError, match=what), batch_of(images, option="--batch-size"):
            raise error


def test_other_errors_are_not_taken_for_it() -> None:
    for error in (RuntimeError("shapes do not match"), KeyError("x"), ValueError("out of range")):
        assert not out_of_memory(error)
        with pytest.raises(type(error)), batch_of(2, option="--batch-size"):
            raise error
        with pytest.raises(type(error)):  # a mistake in the code keeps its traceback
            failing(error)()


def test_training_says_which_option_to_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("ean_core.pipeline.fit.build_runner", lambda *_, **__: SimpleNamespace(train=run_out))
    settings = Recipe.from_file(ROOT / "classification/configs/ean_se_r164_cifar100.py").train
    for section in ("supernet", "train"):
        directory = tmp_path / section
        run = TrainingRun(section, section, directory, directory / "classifier.pth", identity={}, seed=0)
        with pytest.raises(EANError, match=rf"128.* try --cfg-options {section}.batch_size=64$"):
            fit(run, None, [0], settings)


def test_a_device_that_is_not_there() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device(None) in ("cpu", "cuda")
    for name in ("cuda:99", "toaster"):
        with pytest.raises(EANError, match=rf"--device {name} cannot be used: .*choose from cpu"):
            choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_no_gpu_says_what_to_check() -> None:
    with pytest.raises(EANError, match="--device cuda cannot be used: .*torch sees no CUDA device: check nvidia-smi"):
        choose_device("cuda")


def test_logging_backends_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EANError, match="unknown log 'tensorbord'.*did you mean 'tensorboard'"):
        backends_of(["tensorbord"])
    specs = {"tensorboard": SimpleNamespace(origin="/there/__init__.py"), "wandb": SimpleNamespace(origin=None)}
    monkeypatch.setattr(cli, "find_spec", specs.get)
    assert backends_of(["tensorboard"]) == ("TensorboardVisBackend",)
    with pytest.raises(EANError, match="--log wandb needs the package wandb: pip install wandb"):
        backends_of(["wandb"])  # a folder that wandb leaves behind is not a package


def test_a_misspelt_recipe_gets_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(EANError, match="does not exist: .*did you mean classification/configs/ean_se_r164_cifar100.py"):
        Recipe.from_file("ean_se_r164_cifar10.py")
    with pytest.raises(EANError, match="classification/configs is a folder: give a file, such as those in "):
        Recipe.from_file("classification/configs")
    with pytest.raises(EANError, match="does not exist: .*did you mean segmentation/configs/ean_se_voc.py"):
        task_of_config("segmentation/configs/ean_se_vocc.py")


def test_no_colours_and_no_bars_in_a_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    console().print("[bold red]words[/]")
    with bar("work", 2) as progress:
        assert progress is not None
        progress.update(1, "half")
        progress.update(2, "done")
    printed = capsys.readouterr().out
    assert "words" in printed
    assert "work 2/2  took 0:00  done" in printed
    assert "\x1b" not in printed
    assert "\r" not in printed
