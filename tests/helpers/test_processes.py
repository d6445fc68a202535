"""Commands that tests start find what the tests find."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import Script
from tests.helpers.processes import ROOT, environment, python_path, run_warm, warm_python


def test_the_callers_modules_are_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("import ean_core\nprint(ean_core.__file__)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = [sys.executable, "-c", "import only_here"]
    done = subprocess.run(code, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(ROOT)
    assert environment(OMP_NUM_THREADS="2")["OMP_NUM_THREADS"] == "2"
    monkeypatch.delenv("PYTHONPATH")
    assert python_path() == str(ROOT)
    assert os.environ.get("PYTHONPATH") is None


def test_a_warm_python_runs_a_program_as_python_does(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = __name__")
    program = tmp_path / "program.py"
    program.write_text("""\
import os, sys
was_there = "torch" in sys.modules
from beside import NAME
print(was_there, __name__, NAME, sys.argv[1:], os.environ["TOLD"], sys.stdin.read(), os.path.basename(__file__))
print("to stderr", file=sys.stderr)
sys.exit(3)
""")
    done = run_warm(program, "-u", "a b", given="read", TOLD="told")
    assert done.stdout == "True __main__ beside ['-u', 'a b'] told read program.py\n"
    assert (done.stderr, done.returncode) == ("to stderr\n", 3)
    assert run_warm("-c", "import sys; print(sys.argv)", "x").stdout == "['-c', 'x']\n"
    assert "Traceback" in (failed := run_warm("-c", "1 / 0")).stderr
    assert failed.returncode == 1
    assert run_warm("-m", "json.tool", given="{}").stdout == "{}\n"
    assert run_warm("-c", "import sys; print('torch' in sys.modules)", OMP_NUM_THREADS="2").stdout == "False\n"


def test_signals_reach_the_program_of_a_warm_python() -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    for number in (signal.SIGTERM, signal.SIGKILL):
        command, variables = [warm_python(), "-c", code], environment(CUDA_VISIBLE_DEVICES="")
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
            program = int(process.stdout.readline())
            process.send_signal(number)
            assert process.wait(timeout=30) == -number
        deadline = time.monotonic() + 30
        while Path(f"/proc/{program}").exists():
            assert time.monotonic() < deadline, "the program is still there"
            time.sleep(0.01)


def test_a_command_in_the_tests_process_leaves_it_as_it_was(script: Script, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("""\
import os, signal, sys, torch
os.environ["LEFT"] = "behind"
os.chdir("/")
sys.path.insert(0, "/left")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
torch.set_num_threads(torch.get_num_threads() + 1)
sys.exit(len(sys.argv))
""")
    arguments, threads = list(sys.argv), torch.get_num_threads()
    assert script(str(program), "1", "2") == 3
    assert (Path.cwd(), sys.argv, torch.get_num_threads()) == (tmp_path, arguments, threads)
    assert "LEFT" not in os.environ
    assert "/left" not in sys.path
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN


def test_no_test_replaces_the_path() -> None:
    setting = re.compile(r"(\"PYTHONPATH\": |PYTHONPATH=str\()(?!python_path\(\))")
    exempt = {Path(__file__).name, "test_install.py"}  # an installed wheel is found there and nowhere else
    files = (ROOT / "tests").rglob("*.py")
    assert [str(path) for path in files if setting.search(path.read_text()) and path.name not in exempt] == []
