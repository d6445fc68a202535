"""Which runs are the same, as a directory's claim sees it."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import BaseFileLock, FileLock, Timeout

from ean_core.training import work_dir
from ean_core.training.work_dir import WorkDir, check_held, check_same, claim, first_difference, lock
from ean_core.utils.errors import EANError
from tests.helpers.processes import environment

OLD = {"seed": 0, "train": {"lr": 0.1, "epochs": 3}}


@pytest.mark.parametrize("off", [None, False, 0, "", [], {}])
def test_a_setting_added_since_and_off_is_no_difference(off: object) -> None:
    assert first_difference(OLD, {**OLD, "train": {**OLD["train"], "deterministic": off}}) is None


def test_a_setting_added_since_agrees_with_what_was_always_done() -> None:
    assert first_difference(OLD, {**OLD, "train": {**OLD["train"], "optimizer": "sgd"}}) is None
    adam = {**OLD, "train": {**OLD["train"], "optimizer": "adam"}}
    assert first_difference(OLD, adam) == ("train.optimizer", None, "adam")
    assert first_difference(adam, {**OLD, "train": {**OLD["train"], "optimizer": "sgd"}}) == (
        "train.optimizer",
        "adam",
        "sgd",
    )


def test_differences_are_named() -> None:
    assert first_difference(OLD, {**OLD, "train": {**OLD["train"], "deterministic": True}}) == (
        "train.deterministic",
        None,
        True,
    )
    assert first_difference(OLD, {**OLD, "seed": 1}) == ("seed", 0, 1)
    with pytest.raises(EANError, match=r"made with train\.lr = 0\.1, and this run has 0\.2"):
        check_same(OLD, {**OLD, "train": {"lr": 0.2, "epochs": 3}}, what="made with")


def test_what_changes_no_result_may_differ() -> None:
    old = {"search": {"steps": 10, "bn_images": 0}}
    assert first_difference(old, {"search": {"steps": 99, "bn_images": 0}}) is None
    assert first_difference(old, {"search": {"steps": 10, "bn_images": 50}}) == ("search.bn_images", 0, 50)
    roots = [{"train_dataloader": {"dataset": {"data_root": root}}} for root in ("data", "/mnt/data")]
    assert first_difference(*roots) is None
    devices = [
        {"env_cfg": {"dist_cfg": {"backend": "gloo"}}, "model_wrapper_cfg": {"device_ids": None}},
        {"env_cfg": {}},
    ]
    assert first_difference(*devices) is first_difference(*devices[::-1]) is None


def test_a_claim_without_work_is_replaced_and_one_with_work_is_not(tmp_path: Path) -> None:
    work = tmp_path / "last.pth"
    claim(tmp_path, {"seed": 0}, resume=False, begun=[work])
    claim(tmp_path, {"seed": 1}, resume=False, begun=[work])  # nothing was done yet
    work.touch()
    with pytest.raises(EANError, match="--resume"):
        claim(tmp_path, {"seed": 1}, resume=False, begun=[work])
    with pytest.raises(EANError, match="seed = 1, and this run has 2"):
        claim(tmp_path, {"seed": 2}, resume=True, begun=[work])
    claim(tmp_path, {"seed": 1}, resume=True, begun=[work])


# -- one run at a time -------------------------------------------------------------------------------------------------


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Locks that a test takes end with it, and nobody waits for those of others."""
    held: dict[Path, tuple[BaseFileLock, object]] = {}
    monkeypatch.setattr(work_dir, "_held", held)
    monkeypatch.setattr(work_dir, "PATIENCE", 0.0)
    yield
    for file_lock, _ in held.values():
        file_lock.release()


def another_process(directory: Path, *, shared: bool = False) -> BaseFileLock:
    """Holds the lock of a directory as a process beside this one."""
    directory.mkdir(parents=True, exist_ok=True)
    other = FileLock(directory / f"{work_dir.LOCK}{'.other-1' if shared else ''}")
    other.acquire(timeout=0)
    return other


def work(path: Path, **how: Any) -> WorkDir:
    return WorkDir(path, "counting", ("counter",), **how)


@pytest.mark.parametrize("resume", [False, True])
def test_a_second_run_is_refused_and_writes_nothing(forgotten: None, tmp_path: Path, resume: bool) -> None:
    other = another_process(tmp_path)
    for directory in (tmp_path, tmp_path / "seed0"):
        with pytest.raises(EANError, match="another run is using"):
            claim(directory, {"seed": 0}, resume=resume, begun=[], work_dir=work(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [work_dir.LOCK]
    other.release()
    claim(tmp_path / "seed0", {"seed": 0}, resume=resume, begun=[], work_dir=work(tmp_path))
    claim(tmp_path / "seed1", {"seed": 1}, resume=resume, begun=[], work_dir=work(tmp_path))  # of the same run
    with pytest.raises(Timeout):
        another_process(tmp_path)


@pytest.mark.parametrize("error", [NotImplementedError("no flock"), OSError(errno.ENOLCK, "No locks available")])
def test_a_file_system_without_locks_is_named(
    forgotten: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def acquire(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(EANError, match="the file system of .* has no locks"):
        lock(tmp_path)


def test_nothing_is_written_where_a_removed_directory_was(forgotten: None, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    state = directory / "seed0/last.pth"
    check_held(state)  # nothing is locked
    lock(directory)
    check_held(state)
    shutil.rmtree(directory)
    check_held(tmp_path / "other/last.pth")
    with pytest.raises(EANError, match="run was removed or replaced while this run was working in it"):
        check_held(state)
    other = another_process(directory)  # another run of the same name
    with pytest.raises(EANError, match="run was removed or replaced"):
        check_held(state)
    with pytest.raises(EANError, match="another run is using"):
        lock(directory)
    other.release()
    lock(directory)
    check_held(state)


def test_a_killed_process_leaves_no_lock(forgotten: None, tmp_path: Path) -> None:
    program = f"from ean_core.training.work_dir import lock; from pathlib import Path; lock(Path({str(tmp_path)!r}))"
    program += "; print('held', flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(EANError, match="another run is using"):
            lock(tmp_path)
        process.kill()
        process.wait()
    lock(tmp_path)


def test_the_processes_of_a_study_share_its_directory_and_keep_others_out(forgotten: None, tmp_path: Path) -> None:
    other = another_process(tmp_path, shared=True)
    with pytest.raises(EANError, match="another run is using"):
        lock(tmp_path)
    lock(tmp_path, shared=True)
    other.release()
    with pytest.raises(Timeout):  # mine
        FileLock(next(path for path in tmp_path.glob(f"{work_dir.LOCK}.*") if "other" not in path.name)).acquire(0)


def test_what_killed_runs_left_is_swept(forgotten: None, tmp_path: Path) -> None:
    (tmp_path / "seed0").mkdir()
    left = [".summary.json.k3x9_a.tmp.json", "seed0/.last.pth.tmp", "seed0/.a.png.abc.tmp.png"]
    kept = ["summary.json", ".hidden", "seed0/a.tmp.png", ".notes.txt"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    claim(tmp_path / "seed0", {"seed": 0}, resume=False, begun=[], work_dir=work(tmp_path))
    assert not any((tmp_path / name).exists() for name in left)
    assert all((tmp_path / name).exists() for name in kept)


def test_nothing_is_swept_while_others_write(forgotten: None, tmp_path: Path) -> None:
    other = another_process(tmp_path, shared=True)
    (tmp_path / ".scores.json.x.tmp.json").touch()
    lock(tmp_path, shared=True)
    assert (tmp_path / ".scores.json.x.tmp.json").exists()
    other.release()


# -- one task, one set of settings -------------------------------------------------------------------------------------


def test_another_task_is_refused(forgotten: None, tmp_path: Path) -> None:
    claim(tmp_path / "seed0", {"part": "counter"}, resume=False, begun=[], work_dir=work(tmp_path))
    other = WorkDir(tmp_path, "segmentation", (None,))
    for resume in (False, True):
        with pytest.raises(EANError, match="holds a run of counting, not of segmentation"):
            claim(tmp_path, {}, resume=resume, begun=[], work_dir=other)


def test_another_task_is_refused_in_a_directory_from_before(forgotten: None, tmp_path: Path) -> None:
    (tmp_path / "supernet").mkdir()
    (tmp_path / "supernet" / "run.json").write_text('{"part": "supernet"}')
    with pytest.raises(EANError, match="holds a run of another task, a supernet, not of counting"):
        claim(tmp_path / "seed0", {}, resume=False, begun=[], work_dir=work(tmp_path))
    claim(tmp_path / "x", {}, resume=False, begun=[], work_dir=WorkDir(tmp_path, "classification", ("supernet",)))


def test_other_settings_are_refused_and_other_seeds_are_not(forgotten: None, tmp_path: Path) -> None:
    def start(*, seed: int, loss: str = "mse", **more: Any) -> None:
        how = work(tmp_path, settings={"train": {"loss": loss}, **more})
        claim(tmp_path / f"seed{seed}", {"seed": seed, "loss": loss}, resume=False, begun=[], work_dir=how)

    start(seed=0)
    with pytest.raises(EANError, match="holds runs with train.loss = 'mse', and this run has 'bayesian'"):
        start(seed=1, loss="bayesian")
    start(seed=1, model={"attention": "se"})  # earlier versions did not record it
    with pytest.raises(EANError, match="holds runs with model.attention = 'se', and this run has 'dia'"):
        start(seed=2, model={"attention": "dia"})
