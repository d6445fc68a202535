"""What all tests share: the repository's root, quiet threads, and runners of the real commands.

Nothing here imports torch before a test needs it: of several processes the first one only distributes the tests.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT, environment, run_warm, share_warm_python

Run = Callable[..., subprocess.CompletedProcess]
Script = Callable[..., int]


def pytest_configure(config: pytest.Config) -> None:
    """Start what the processes of `pytest -n` share, in the one that starts them."""
    if config.getoption("numprocesses", None):
        share_warm_python()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def _quick_process() -> Iterator[None]:
    """One thread, since the tensors are tiny and threads that wait for each other take longer than the work.

    And 0.1 ms for a turn of timing: what is timed does not matter here, and 20 ms of it add up to minutes.
    """
    import torch

    from ean_core.benchmark import timing

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "TURN_SECONDS", 1e-4)
        yield


def check_status(done: subprocess.CompletedProcess, code: int) -> None:
    """Fail with what a command printed if it ended otherwise, or refused without a sentence."""
    assert done.returncode == code, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    if code:
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("error: "), done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command of the project as a user does, in a directory and a process of its own.

    `run("tools/search.py", "--seed", 1, code=0)` returns the finished process; a wrong exit status fails the test
    with what was printed. With `gpu=True` it sees what GPUs there are, else none, and `warm_python` runs it.
    """

    def start(script: str, *arguments: object, code: int = 0, gpu: bool = False) -> subprocess.CompletedProcess:
        if gpu:
            command = [sys.executable, str(ROOT / script), *map(str, arguments)]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240, check=False
            )
        else:
            done = run_warm(ROOT / script, *arguments, directory=tmp_path)
        check_status(done, code)
        return done

    return start


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Run a command of the project in this process, which has loaded torch already.

    `script("tools/search.py", "--seed", 1)` is as `python tools/search.py --seed 1` in the test's directory, and gives
    the exit status. What it changes in the process is put back; the test stays in its directory.
    """

    from tests.helpers.process_state import process_state_kept

    def call(name: str, *arguments: object) -> int:
        monkeypatch.chdir(tmp_path)
        with process_state_kept():
            sys.argv[:] = [str(ROOT / name), *map(str, arguments)]
            try:
                runpy.run_path(sys.argv[0], run_name="__main__")
            except SystemExit as stop:
                return int(stop.code or 0)
        return 0

    return call


@pytest.fixture
def run_here(script: Script, capsys: pytest.CaptureFixture[str]) -> Run:
    """As `run`, in this process."""

    def start(name: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess:
        capsys.readouterr()
        status = script(name, *arguments)
        printed = capsys.readouterr()
        done = subprocess.CompletedProcess([name, *map(str, arguments)], status, printed.out, printed.err)
        check_status(done, code)
        return done

    return start
