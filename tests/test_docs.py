"""README and docs are true: links, commands, options and files exist; Python blocks and quick commands run."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from ean_core.attention import registry
from tests.conftest import ROOT, Script
from tests.helpers.tiny_files import tiny_arch, tiny_classifier

__all__ = ["tiny_arch"]

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted((ROOT / "docs").glob("*.md"))
MADE = re.compile(r"work_dirs/|data/|.*(NAME|CONFIG|DIR|\*|\$)")
"""Files that only a run makes, and places for the reader's own."""
BY_CONFIG = {
    "tools/train.py": "segmentation/configs/ean_se_demo.py",
    "tools/test.py": "segmentation/configs/ean_se_demo.py",
}
"""Commands whose options are those of a configuration's task."""


def page_ids(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


def commands_of(text: str) -> Iterator[str]:
    """The project's commands in a page: lines of code blocks, and code in lines."""
    joined = re.sub(r" \\\n\s*", " ", text)
    lines = re.sub(r"`[^`\n]+`", "", joined)
    found = re.findall(r"^(?: {4,}| *|.*?# |.*?: +)(python \w+/\w+\.py.*)$", lines, re.MULTILINE)
    paragraphs = re.sub(r"(?<!`)\n(?!\n)", " ", joined)
    found += re.findall(r"`((?:bash|python|torchrun[^`]*?) \w+/\w+\.(?:py|sh)[^`]*)`", paragraphs)
    for command in found:
        yield command.split("  #")[0].strip()


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name.replace("%20", " ")).resolve() if name else page
        assert path.exists(), f"{target} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


class Parsed(BaseException):
    """Ends a command once its arguments are parsed; not an `Exception`, which commands may handle."""


@pytest.fixture
def parse(script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """`parse("tools/search.py", "--resume")` fails if the command's own parser does not take the arguments."""
    original, parsed = argparse.ArgumentParser.parse_args, []

    def parse_and_stop(parser: argparse.ArgumentParser, *arguments: Any) -> None:
        namespace = original(parser, *arguments)
        parsed.append(namespace)
        if len(parsed) == needed:
            raise Parsed
        return namespace

    def call(name: str, *words: str) -> None:
        nonlocal needed
        needed = 2 if name in BY_CONFIG else 1  # the second parser is that of the configuration's task
        parsed.clear()
        with pytest.raises(Parsed):
            code = script(name, *words)
            pytest.fail(f"{name} {shlex.join(words)} ends with {code}: {capsys.readouterr().err[-500:]}")

    needed = 1
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    return call


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_commands_parse_and_files_exist(page: Path, parse: Callable[..., None]) -> None:
    for line in commands_of(page.read_text(encoding="utf-8")):
        words = shlex.split(line.replace("..", " "), comments=True)
        name = next(word for word in words if word.endswith((".py", ".sh")))
        assert (ROOT / name).is_file(), f"{name} of {line!r} does not exist"
        for word in words:
            file = word.partition(":")[0].rpartition("=")[2]
            if re.match(r"(classification|crowd_counting|segmentation|examples|schemes|results)/", file):
                assert MADE.match(file) or (ROOT / file).exists() or "--output" in words, f"{file} of {line!r}"
        given = [re.sub(r"\$\w+|^N$", "1", word) for word in words[words.index(name) + 1 :]]  # variables, numbers
        if name in BY_CONFIG and not (ROOT / given[0]).exists():
            given[0] = BY_CONFIG[name]
        if name.endswith(".py") and {word for word in given if word.startswith("--")} - {"--help"}:
            parse(name, *given)


def test_an_option_that_does_not_exist_is_found(parse: Callable[..., None]) -> None:
    parse("tools/report.py", "--html", "report.html")
    for words in (["tools/report.py", "--htm1", "report.html"], ["tools/train.py", BY_CONFIG["tools/train.py"], "--x"]):
        with pytest.raises(pytest.fail.Exception, match="(?s)ends with 2: .*unrecognized arguments"):
            parse(*words)


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in page.read_text()], ids=page_ids)
def test_python_runs(page: Path, tiny_arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "ATTENTIONS", dict(registry.ATTENTIONS))  # what a page registers goes again
    tiny_classifier(tmp_path / "classifier.pth")
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "photo.jpg")
    examples = list(Sybil([PythonCodeBlockParser()]).parse(page).examples())
    assert examples
    for example in examples:
        example.evaluate()


QUICK = [
    "python tools/report.py --check README.md docs/results.md",
    "python crowd_counting/prepare.py --demo",
]


@pytest.mark.parametrize("line", QUICK)
def test_quick_commands_run(line: str, script: Script, tmp_path: Path) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert line in pages, "the page says something else by now"
    _, name, *words = shlex.split(line)
    for kept in ("README.md", "docs", "results", "schemes"):
        if (ROOT / kept).exists():
            (tmp_path / kept).symlink_to(ROOT / kept)
    assert script(name, *words) == 0


def test_the_quickstarts_table_is_the_records() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in json.loads((ROOT / "results/quickstart_digits.json").read_text())["metrics"]:
        top1, time = row["top1"], row["time_increment"]
        shown = "0" if row["network"] == "Org" else "{value:.1f} ({low:.1f} to {high:.1f})".format(**time)
        cells = [row["network"], f"{top1['mean']:.2f} ± {top1['std']:.2f} (n={top1['n']})", f"{row['parameters']:,}"]
        cells += [f"{row['connections']}/{row['blocks']}", shown, row["scheme"]]
        line = next(line for line in text.splitlines() if line.startswith(f"    {row['network']} "))
        assert re.split(r"\s{2,}", line.strip()) == cells


def test_the_strip_is_cut_from_the_records_pictures(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "save", lambda image, *_, **__: drawn.append(image.copy()))
    assert script("docs/make_strip.py") == 0
    with Image.open(ROOT / "docs/strip.jpg") as committed:
        assert np.asarray(ImageChops.difference(committed.convert("RGB"), drawn[0])).mean() < 4
