"""Starting and ending together: SLURM's variables, the port, and two processes that leave at different times."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from torch import distributed as dist

from ean_core.utils.distributed import run_on_main_process, slurm_port, start_processes
from ean_core.utils.errors import EANError
from tests.helpers.ranks import two_ranks

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
SLURM = ("PROCID", "NTASKS", "LOCALID", "NODELIST", "JOB_ID", "STEP_ID", "NTASKS_PER_NODE")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torchrun nor SLURM; what is set while a test runs goes with it."""
    for name in (*VARIABLES, *(f"SLURM_{name}" for name in SLURM)):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_several_tasks_of_slurm_need_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert start_processes() == "none"
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(EANError, match=r"SLURM started 2 tasks .* give --launcher slurm"):
        start_processes()
    assert start_processes("none") == "none", "the user's word"


@pytest.mark.parametrize("scontrol", [None, "#!/bin/sh\necho 'slurm_load_nodes: no controller' >&2; exit 1\n"])
def test_without_scontrol_there_is_a_sentence(
    scontrol: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scontrol:
        (tmp_path / "scontrol").write_text(scontrol)
        (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if scontrol else str(tmp_path))
    for name, value in {"PROCID": "0", "NTASKS": "2", "NODELIST": "node[1-2]"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    with pytest.raises(EANError, match=r"SLURM_NODELIST=node\[1-2\] \(.*(scontrol|controller).*\): set MASTER_ADDR"):
        start_processes("slurm")


def test_jobs_of_slurm_meet_at_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    values = set()
    for job, step in (("1000", "0"), ("1001", "0"), ("1000", "1"), ("123456789", "0"), ("1000_3", "4294967290")):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        monkeypatch.setenv("SLURM_STEP_ID", step)
        values.add(slurm_port())
    assert len(values) == 5
    assert all(1024 < port < 32768 for port in values), "no root's ports, and none of outgoing connections"


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        for name, value in zip(VARIABLES, ("0", "2", "0", "127.0.0.1", port), strict=True):
            monkeypatch.setenv(name, value)
        with pytest.raises(EANError, match=f"cannot meet at 127.0.0.1:{port}: the port is in use"):
            start_processes()
    assert "MASTER_PORT" in os.environ


def test_the_other_processes_hear_of_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str | None] = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "broadcast_object_list", lambda values, src: heard.extend(values))

    def broken() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        run_on_main_process(broken)
    run_on_main_process(lambda: None)
    assert heard == ["the first process stopped (a bug)", None]


def test_nobody_leaves_while_another_works_and_an_end_by_an_error_is_said(tmp_path: Path) -> None:
    """The second has nothing to do at the end; it must be there until the first has told the time."""
    work = """\
import time
from pathlib import Path
if is_main_process():
    time.sleep(0.5)
    Path("ended").touch()
stop_processes()
assert Path("ended").exists()
"""
    first, second = two_ranks(work, directories=(tmp_path, tmp_path))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr


def test_whoever_meets_an_error_says_it_and_what_all_meet_is_said_once(tmp_path: Path) -> None:
    work = """\
def fail():
    raise EANError("the folder is not empty")
try:
    run_on_main_process(fail)
except EANError as error:
    print(type(error).__name__, error)
if not is_main_process():
    raise EANError("photo.png is damaged")
barrier()
"""
    first, second = two_ranks(work, directories=(tmp_path, tmp_path))
    assert first.stdout == second.stdout == "SharedError the folder is not empty\n"
    assert second.stderr.strip().endswith("error: in process 1 of 2: photo.png is damaged")
    assert "another process of this run has ended" in first.stderr
    assert "--resume" in first.stderr
    for done in (first, second):
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "terminate" not in done.stderr
