"""Commands in unkind surroundings: two checkouts, closed streams, readers that go, notebooks, killed parents."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ean_core
from ean_core.attention import build_attention
from ean_core.training.device_defaults import Placement, for_device
from ean_core.utils.errors import EANError, SharedError, command, unknown_name
from ean_core.utils.failure_messages import explain
from tests.helpers.processes import ROOT, environment, warm_python
from tests.helpers.tiny_files import tiny_arch, tiny_classifier

__all__ = ["tiny_arch"]
LOUD = """\
import os, sys
from ean_core.utils.errors import command
@command
def main():
    for number in range(20000):
        print(f"line {number}", flush=number % 100 == 0)
    os.write(3 if len(sys.argv) > 1 else 2, b"ended")
main()
"""


def shell(line: str, folder: Path, **changes: str) -> subprocess.CompletedProcess:
    """A line of bash, with {python} for this one, and {warm} for one that has imported torch."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line.format(python=sys.executable, warm=warm_python())],
        cwd=folder,
        env=environment(CUDA_VISIBLE_DEVICES="", **changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_tool_runs_the_package_beside_it(tmp_path: Path) -> None:
    """The installed one, here by PYTHONPATH, is another checkout."""
    other = tmp_path / "other"
    shutil.copytree(ROOT / "ean_core" / "utils", other / "ean_core" / "utils", ignore=shutil.ignore_patterns("__py*"))
    (other / "ean_core" / "__init__.py").write_text("")
    (other / "tools").mkdir()
    (other / "tools" / "where.py").write_text(
        "import sys\nimport ean_core\nfrom ean_core.utils.errors import command\n\n\n@command\ndef main():\n"
        "    print(ean_core.__file__, *sys.argv[1:])\n\n\nmain()\n"
    )
    done = shell("{python} -W ignore other/tools/where.py --seed 'a b'", tmp_path)
    assert done.stdout == f"{other / 'ean_core' / '__init__.py'} --seed a b\n", done.stderr
    imported = f"import runpy; runpy.run_path({str(other / 'tools/where.py')!r}, run_name='__main__')"
    output = shell(f'{{python}} -c "{imported}"', tmp_path)  # as a notebook does it: its process must live on
    assert output.stdout == f"{ROOT / 'ean_core' / '__init__.py'}\n"


@pytest.mark.parametrize("streams", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_obstacle_and_no_file_gets_what_is_printed(streams: str, tmp_path: Path) -> None:
    (tmp_path / "say.py").write_text(
        "import sys\nfrom ean_core.utils.errors import command\n\n\n@command\ndef main():\n"
        "    with open('file', 'w') as file:\n        assert file.fileno() > 2\n"
        "        print('to nobody', flush=True)\n"
        "        sys.stdout.write('either')\n        file.write('content')\n\n\nmain()\n"
    )
    assert shell(f"{{python}} say.py {streams}", tmp_path).returncode == 0
    assert (tmp_path / "file").read_text() == "content"


def test_a_reader_that_goes_ends_a_command_quietly(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    done = shell("{python} loud.py | head -n 2", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (141, "line 0\nline 1\n", "")


def test_another_broken_pipe_is_still_an_error(capsys: pytest.CaptureFixture) -> None:
    @command
    def fail() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(SystemExit) as stop:
        fail()
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: a file cannot be read or written (Broken pipe)")


@pytest.mark.parametrize(
    ("variables", "shared", "said"),
    [
        ({"RANK": "1"}, False, "error: wrong\n"),
        ({"RANK": "1"}, True, "error: wrong\n"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, False, "error: wrong\n"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, True, "error: wrong\n"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, False, "error: in process 1 of 2: wrong\n"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, True, ""),
    ],
)
def test_an_error_is_said_by_whoever_meets_it(
    variables: dict[str, str], shared: bool, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    @command
    def fail() -> None:
        raise (SharedError if shared else EANError)("wrong")

    with pytest.raises(SystemExit):
        fail()
    assert capsys.readouterr().err == said


def test_a_notebooks_backend_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "draw.py").write_text(
        "from ean_core.utils.errors import command\n\n\n@command\ndef main():\n"
        "    import matplotlib.pyplot as plt\n    print(plt.get_backend().lower())\n\n\nmain()\n"
    )
    done = shell("{python} draw.py", tmp_path, MPLBACKEND="module://no_such_module.backend_inline")
    assert done.stdout == "agg\n", done.stderr


# -- what other libraries raise ---------------------------------------------------------------------------------------


READ = """\
import os, resource, signal, sys
import torch
from torch.utils.data import DataLoader, Dataset
from ean_core.utils.data_workers import guard_workers
from ean_core.utils.errors import command

class Images(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, index):
        if index == 5 and "killed" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(3, 300, 300)

def limit(_):  # 100 kB for a file, in /dev/shm too
    if "killed" not in sys.argv:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

@command
def main():
    collate = torch.stack if "own" in sys.argv else None
    for _ in guard_workers(DataLoader(Images(), num_workers=2, worker_init_fn=limit, collate_fn=collate)):
        pass

main()
"""


@pytest.mark.parametrize("mode", ["torch", "own", "killed"])
def test_a_lost_data_worker_ends_a_run_with_a_sentence(mode: str, tmp_path: Path) -> None:
    """Without the guard a full /dev/shm lets loaders with their own collating, as the project's, wait for ever."""
    (tmp_path / "read.py").write_text(READ)
    done = shell(f"{{warm}} read.py {mode}", tmp_path)
    assert done.returncode == 2, done.stderr
    message = done.stderr.splitlines()[-1]
    start = "a process that reads images " if mode == "killed" else "/dev/shm, through which processes hand over "
    assert message.startswith(f"error: {start}")
    assert "Traceback" not in done.stderr
    assert all(word in message for word in ("data.workers=0", "--resume"))
    assert ("/dev/shm" in message, "--shm-size" in message, "was killed" in message) == (
        (False, False, True) if mode == "killed" else (True, True, False)
    )


def test_a_fault_of_our_own_keeps_its_traceback() -> None:
    for error in (RuntimeError("shapes do not match"), RuntimeError("Caught KeyError in DataLoader worker process 0.")):
        assert explain(error) is None


def test_paths_that_lead_nowhere_are_explained() -> None:
    """Python before 3.13 raises a RuntimeError for a loop of links."""
    assert "leads back to itself" in str(explain(RuntimeError("Symlink loop from '/a/b'")))
    assert "null character" in str(explain(ValueError("embedded null byte")))


def test_a_lost_process_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    gloo = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:123"
    for error in (RuntimeError(gloo), torch.distributed.DistBackendError("NCCL error: remote process exited")):
        assert "--resume" in str(explain(error))


# -- smaller ones -----------------------------------------------------------------------------------------------------


def test_a_missing_compiler_shows_before_anything_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    from classification.recipe import Recipe

    recipe = Recipe.from_file(ROOT / "classification/configs/quickstart_digits.py", {"train.compile": True})
    monkeypatch.setenv("CXX", "no-such-compiler")
    placement = Placement.current(8)
    with pytest.raises(EANError, match=r"train.compile=True needs a C\+\+ compiler \(no-such-compiler\)"):
        for_device(recipe, placement)
    monkeypatch.setenv("CXX", sys.executable)
    assert for_device(recipe, Placement.current(8)).train.compile


def test_a_loaded_network_can_be_pickled(tiny_arch: str, tmp_path: Path) -> None:
    net = ean_core.load(tiny_classifier(tmp_path / "classifier.pth"), device="cpu")
    photo = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()
    assert pickle.loads(pickle.dumps(net)).predict(photo) == net.predict(photo)


@pytest.mark.parametrize(("typed", "meant"), [("SE", "se"), ("DIA", "dia"), ("Sge", "sge"), ("ECA", "timm:eca")])
def test_hints_do_not_depend_on_capitals(typed: str, meant: str) -> None:
    with pytest.raises(EANError, match=f"did you mean '{meant}'"):
        build_attention(typed, 16, family="cifar")
    with pytest.raises(EANError, match="did you mean 'ResNet'"):
        raise unknown_name("thing", "resnet", ["ResNet", "other"])


def test_warnings_of_other_packages_about_what_is_meant_stay_out(tmp_path: Path) -> None:
    """As torch's C++ code and MMEngine print them from every process of a supernet's training."""
    program = """\
import os
from ean_core.utils.errors import command
@command
def main():
    import warnings
    import torch
    warnings.warn("Setting MKL_NUM_THREADS environment variable for each process to be 1 in default, ..")
    warnings.warn("`broadcast_buffers` is deprecated. Use ..", FutureWarning)
    warnings.warn("a warning of the user's own")
    print(os.environ["TORCH_CPP_LOG_LEVEL"])
main()
"""
    (tmp_path / "program.py").write_text(program)
    done = shell("{warm} program.py", tmp_path)
    assert done.stdout == "ERROR\n"
    assert done.stderr.count("Warning:") == 1
    assert "the user's own" in done.stderr
