"""Every command that reads a segmentor's state refuses one that would run code, before anything of it has run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ean_core.utils.errors import EANError
from segmentation.job import Job
from tests.conftest import Script
from tests.helpers.crafted_files import crafted_state
from tests.segmentation.conftest import SMALL, TINY, flags

COMMANDS = {
    "predict": ("segmentation/predict.py", SMALL, "STATE", "PHOTO", "--out-dir", "out", *flags()),
    "test": ("tools/test.py", SMALL, "STATE", *flags()),
    "gradcam": ("tools/gradcam.py", "PHOTO", "--checkpoints", "STATE", "--config", SMALL),
    "export": ("tools/export.py", "STATE", "--config", SMALL, "--to", "safetensors"),
}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_commands(voc: Path, tmp_path: Path, script: Script, capsys: pytest.CaptureFixture[str], command: str) -> None:
    state = crafted_state(tmp_path / "run" / "last.pth", tmp_path / "ran")
    photo = next((tmp_path / "data").rglob("*.jpg"))
    given = {"STATE": state, "PHOTO": photo}
    name, *arguments = COMMANDS[command]
    assert script(name, *(given.get(str(argument), argument) for argument in arguments)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith(f"error: {state} holds more than weights and was not loaded, since it could run code")
    assert not (tmp_path / "ran").exists()


def test_resuming(voc: Path, tmp_path: Path) -> None:
    def prepare(*, resume: bool) -> Job:
        root = str(tmp_path / "data")
        return Job.prepare(SMALL, options=TINY, data_root=root, directory=tmp_path / "run", resume=resume)

    prepare(resume=False)  # claims the directory
    crafted_state(tmp_path / "run" / "last.pth", tmp_path / "ran")
    with pytest.raises(EANError, match="last.pth holds more than weights"):
        prepare(resume=True).run()
    assert not (tmp_path / "ran").exists()
