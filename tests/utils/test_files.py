"""Atomic files, the command wrapper, and records."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

from ean_core.io.records import commit, read_record, write_record
from ean_core.utils.errors import EANError, command, sentence, unknown_name
from ean_core.utils.files import atomic_folder, atomic_path, sha256_of, sweep, writable, write_atomic
from tests.conftest import Script
from tests.helpers.processes import environment
from tests.helpers.tiny_files import tiny_arch, tiny_classifier

__all__ = ["tiny_arch"]


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_atomic(path, "old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "\N{GRINNING FACE}" * 62 + ".json"])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, "{}")
    with atomic_folder(tmp_path / f"f{name[1:]}"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {name, f"f{name[1:]}"}


def test_sha256_is_the_known_one(tmp_path: Path) -> None:
    write_atomic(tmp_path / "abc", "abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_command_turns_an_error_into_a_sentence(capsys: pytest.CaptureFixture) -> None:
    @command
    def main() -> None:
        raise EANError("found this, expected that: do so")

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: found this, expected that: do so\n"


def test_command_says_how_to_go_on_after_an_interrupt(capsys: pytest.CaptureFixture) -> None:
    @command
    def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130
    assert "--resume" in capsys.readouterr().err


def test_errors_of_the_disk_name_the_file_and_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path) -> None:
        with atomic_path(file):
            raise OSError(errno.ENOSPC, "No space left on device")  # as a write to a full disk

    def closed(file: Path) -> None:
        def refuse(*, dir: Path, prefix: str, suffix: str) -> None:
            raise OSError(errno.EROFS, "Read-only file system", f"{dir}/{prefix}abc{suffix}")

        monkeypatch.setattr(tempfile, "mkstemp", refuse)
        write_atomic(file, "")

    room, rights = "free some space, or give a folder on another disk", "change the permissions"
    for act, words in ((full, f"(No space left on device): {room}"), (closed, f"(Read-only file system): {rights}")):
        with pytest.raises(SystemExit) as stop:
            command(lambda act=act: act(tmp_path / "x.json"))()
        assert stop.value.code == 2
        assert f"error: {tmp_path / 'x.json'} cannot be read or written {words}" in capsys.readouterr().err
    assert sentence(OSError("plain")) == "plain"


def test_a_folder_into_which_nothing_can_be_put_is_found_out_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert writable(tmp_path / "new" / "folder").is_dir()
    assert not list((tmp_path / "new" / "folder").iterdir())

    def refuse(*, dir: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(dir / "tmpabc"))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=f"Read-only file system: '{tmp_path}'"):
        writable(tmp_path)


def test_a_photos_figures_are_not_reckoned_for_nothing(tiny_arch: str, script: Script, tmp_path: Path, capsys) -> None:
    tiny_classifier(tmp_path / "c.pth")
    (tmp_path / "file").write_text("")
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    assert script("tools/predict.py", "c.pth", "a.png", "--json", "file/p.json") == 2
    done = capsys.readouterr()
    assert "error: file cannot be read or written (File exists): a file is in the way of a folder" in done.err
    assert "a.png" not in done.out


def test_a_name_that_is_no_utf8_is_written_as_text(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.csv", "caf\udce9.png")
    assert (tmp_path / "a.csv").read_text() == r"caf\udce9.png"


def test_unknown_name_gives_the_nearest() -> None:
    assert "did you mean 'random'" in str(unknown_name("method", "randm", ["ean", "random"]))
    assert "did you mean" not in str(unknown_name("method", "zzz", ["ean", "random"]))


def test_a_record_has_settings_metrics_and_environment(tmp_path: Path) -> None:
    path = write_record(tmp_path / "r.json", kind="test", settings={"seed": 1}, metrics={"top1": 2.5})
    record = read_record(path)
    assert (record["kind"], record["settings"], record["metrics"]) == ("test", {"seed": 1}, {"top1": 2.5})
    environment = record["environment"]
    assert {"device", "threads", "python", "versions", "commit", "date"} <= set(environment)
    assert "torch" in environment["versions"]


def test_a_record_made_without_a_checkout_takes_the_commit_that_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAN_COMMIT", "0123abcd")
    assert commit() != "0123abcd"  # the checkout knows better
    monkeypatch.setattr("ean_core.io.records.__file__", str(tmp_path / "ean_core/io/records.py"))
    assert commit() == "0123abcd"
    monkeypatch.setenv("PATH", "")  # nor a git
    assert commit() == "0123abcd"
    monkeypatch.setenv("EAN_COMMIT", "")
    assert commit() is None


@pytest.mark.parametrize("content", ["", "{}", '{"format": "other"}', "[1]"])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(EANError, match=r"r\.json"):
        read_record(tmp_path / "r.json")
    assert json.dumps(content)


def test_a_records_settings_name_no_place_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {
        "config": tmp_path / "configs" / "a.py",
        "data": [{"root": "/somebody/files/data/VOCdevkit/VOC2012", "train": "train.txt"}],
        "scheme": "010 | 1",
        "rounds": 3,
    }
    saved = read_record(write_record("r.json", kind="test", settings=settings, metrics={}))["settings"]
    assert saved["config"] == "configs/a.py"
    assert saved["data"] == [{"root": "data/VOCdevkit/VOC2012", "train": "train.txt"}]
    assert (saved["scheme"], saved["rounds"]) == ("010 | 1", 3)


def test_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool, bool]] = []
    path = tmp_path / "file.json"
    real = os.fsync

    def fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        seen.append(("folder" if is_folder else "file", path.exists(), os.fstat(handle).st_size > 0))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(path, "content")
    assert [(kind, there) for kind, there, _ in seen] == [("file", False), ("folder", True)]
    assert seen[0][2]


def test_sweeping_takes_what_kills_leave_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from ean_core.utils.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n    temporary.write_text('half')\n    os._exit(9)"
    )
    for name in ("below/a.png", "summary.json", "no_ending"):
        subprocess.run([sys.executable, "-c", program, str(tmp_path / name)], env=environment())
    kept = [tmp_path / name for name in (".git", "a.tmp", "x.tmp.json", ".secret.json")]
    for path in kept:
        path.touch()
    assert len(sweep(tmp_path)) == 3
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / ".demo.killed.tmp").mkdir()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "demo") as temporary:
        (temporary / "a").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    with atomic_folder(tmp_path / "demo") as temporary:
        (temporary / "a").touch()
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["a"]
