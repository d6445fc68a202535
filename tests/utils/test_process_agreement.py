"""Processes that are not one run: other seeds, other data, another job, another state, no shared folder."""

from __future__ import annotations

from pathlib import Path

from ean_core.utils.process_agreement import check_agreement, code_version
from tests.helpers.ranks import two_ranks

DISAGREE = """\
from pathlib import Path
from ean_core.training.work_dir import claim
from ean_core.training.runner import QuietRunner
from ean_core.utils.process_agreement import check_same_files
def said(what, call):
    try:
        call()
    except EANError as error:
        print(f"{what}: {error}")
def begin(**changes):
    data = {"name": "digits", "images": 10, **changes}
    claim(Path("w"), {"seed": 1, "data": data}, resume=False, begun=[])
runner = QuietRunner.__new__(QuietRunner)
said("data", lambda: begin(images=10 if is_main_process() else 9))
said("lacks", lambda: runner.resume_from(Path("lacks/last.pth")))
said("other", lambda: runner.resume_from(Path("other/last.pth")))
said("files", lambda: check_same_files(Path("files")))
assert not list(Path("w").glob("*"))
runner.resume_from(Path("none/last.pth"))
begin()
stop_processes()
"""


def test_one_process_agrees_with_itself() -> None:
    check_agreement({"seed": 1})
    assert code_version() == code_version()


def test_processes_that_differ_stop_together_and_say_in_what(tmp_path: Path) -> None:
    """On two machines that share no folder: `resume_from` and `claim` are what all trainings begin with."""
    nodes = tmp_path / "a", tmp_path / "b"
    for node in nodes:
        for name in ("w", "lacks", "other", "files/supernet"):
            (node / name).mkdir(parents=True)
    (nodes[0] / "lacks/last.pth").write_bytes(b"state")
    (nodes[0] / "files/supernet/last.pth").write_bytes(b"state")
    for node in nodes:
        (node / "other/last.pth").write_text(node.name)
    ranks = two_ranks(DISAGREE, directories=nodes)
    for rank in ranks:
        assert rank.returncode == 0, rank.stderr
        answers = dict(line.split(": ", 1) for line in rank.stdout.splitlines())
        assert answers["data"].startswith("the processes do not agree on data.images: process 0 on ")
        assert " has 10, and process 1 on " in answers["data"]
        assert " has 9: start all processes with the same command" in answers["data"]
        for name in ("lacks", "other", "files"):
            assert "last.pth" in answers[name]
            assert "need one shared folder" in answers[name]
    assert ranks[0].stdout == ranks[1].stdout
    assert (nodes[0] / "w/run.json").exists(), "processes that agree go on"


def test_processes_of_two_jobs_that_met_on_one_port_stop_at_once(tmp_path: Path) -> None:
    first, second = two_ranks(
        "raise SystemExit(7)",
        directories=(tmp_path, tmp_path),
        variables=({"SLURM_JOB_ID": "41"}, {"SLURM_JOB_ID": "42"}),
    )
    assert (first.returncode, second.returncode, second.stderr) == (2, 2, "")
    assert "error: the processes do not agree on job.SLURM_JOB_ID: process 0" in first.stderr
    assert "with a port (MASTER_PORT) of its own" in first.stderr
