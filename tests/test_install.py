"""A wheel holds all that the commands and `ean_core` need, and works in an empty folder outside the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers.processes import environment, run_warm

FOLDERS = ("ean_core", "classification", "crowd_counting", "segmentation", "tools")
FILES = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")

USE = """\
import contextlib, io, sys
import ean_core
from ean_tools.__main__ import main

assert ean_core.__file__.startswith(sys.argv.pop(1)), ean_core.__file__
net = ean_core.create_model("resnet50", attention="se", scheme="paper_ean_se_resnet50")
print(f"connections: {net.scheme.connections}")
for line in sys.argv[1:]:
    print(f"--- {line}")
    try:
        main(line.split())
    except SystemExit as stop:
        print(f"exit status: {stop.code}")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel that pip builds of a copy of the repository is installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--no-input", "install")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", target)
    subprocess.run([*pip, *options, source], check=True, timeout=240)
    return target


def test_it_brings_no_common_names(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names - {"bin"} == {"ean_core", "ean_tools", "classification", "crowd_counting", "segmentation"}


def test_every_recipe_scheme_and_figure_is_in_it(installed: Path) -> None:
    for pattern in ("*/configs/**/*.py", "ean_core/schemes/*.json", "ean_core/report/*.json", "*/py.typed"):
        found = {path.relative_to(ROOT) for path in ROOT.glob(pattern)}
        assert found
        assert found == {path.relative_to(installed) for path in installed.glob(pattern)}
    assert (next(installed.glob("*.dist-info")) / "licenses" / "LICENSE").exists()


def test_the_command_lists_its_verbs(installed: Path, tmp_path: Path) -> None:
    run = [str(installed / "bin" / "ean")]
    done = subprocess.run(
        run, cwd=tmp_path, env=environment(PYTHONPATH=str(installed)), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    verbs = re.findall(r"^  (\w[\w -]*?)  +\w", done.stdout, re.MULTILINE)
    assert {"search", "train", "count", "predict", "prepare crowd", "report"} <= set(verbs)


def test_commands_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    lines = [
        "segmnt",
        "train segmentation/configs/ean_se_demo.py --help",
        "train-cls --scheme org --jobs jobs.txt",
        "pareto nowhere",
        "models",
    ]
    done = run_warm("-c", USE, installed, *lines, directory=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert "connections: 7" in done.stdout
    assert "ean has no command 'segmnt'; did you mean 'segment'?" in done.stderr
    assert "recipe: segmentation/configs/ean_se_demo.py of the installed package" in done.stdout
    help_text = " ".join(done.stdout.replace("\\\n", "").split())
    assert "ean train segmentation/configs/ean_se_voc.py --weights torchvision://resnet50" in help_text
    script = (tmp_path / "jobs.txt").read_text().split()[1]
    assert script == str(installed / "ean_tools" / "train_cls.py")
    assert Path(script).exists()
    assert "tools/" not in done.stderr
    assert "counter-shanghaitech-a: counter, " in done.stdout
