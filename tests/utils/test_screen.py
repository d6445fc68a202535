"""What commands print fits the terminal: tables fold, nothing is cut, and hints can be copied."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from crowd_counting.evaluation import HEADS, KEYS, print_scores
from ean_core.benchmark.compare import print_tables
from ean_core.pipeline.summary import NetworkSummary, print_summary
from ean_core.pipeline.task import Metric
from ean_core.scheme import Scheme
from ean_core.utils.intervals import Interval
from ean_core.utils.screen import make_table, print_table, say, say_next, say_verdict, script
from segmentation.metrics_table import print_metrics
from segmentation.seed_summary import print_rows
from tests.conftest import ROOT
from tests.helpers.terminal import Terminal
from tests.utils.test_wrapping import words_of

DEEP = Scheme.all_on((18, 18, 18))
SPREAD = {"mean": 272.14, "std": 12.25, "n": 3}


def print_networks() -> None:
    rows = [
        NetworkSummary(
            label=label,
            scheme=DEEP,
            parameters=1_727_962,
            seeds=(0, 1, 2),
            results={"top1": (74.29, 74.51, 74.02)},
            best_epoch=None,
            time_increment=Interval(23.5, 22.1, 124.9),
        )
        for label in ("org", "share-full", "ean")
    ]
    print_summary(
        rows, metrics=[Metric("top1", "accuracy", "%")], title="ean_se_r164_cifar100: test images", images=500
    )


def print_benchmark() -> None:
    increment = {"value": 0.7, "low": 0.228, "high": 1.707}
    row = {"network": "Share-full timm:eca", "connections": 54, "blocks": 54, "parameters": 25_557_032}
    row |= {"multiply_adds": 4.1e9, "timings": {"eager": {"median": {"value": 1.24}, "increment": increment}}}
    print_tables([row, row], ["eager"])


def print_methods() -> None:
    heads = ["method", "best reward", "regret (95 %)", "validation accuracy %", "connections", "most probable: regret"]
    table = make_table("as Table 2", [*heads, "smoothed: regret", "schemes scored", "best scheme over the seeds"])
    table.add_row(
        "ean:curiosity_weight=0", "101.33", "0.22 (0.10 to 12.31)", *["100.00"] * 5, str(Scheme.all_on((3, 3, 3)))
    )
    table.add_row("random", "51.11", "50.22 (40.10 to 62.31)", *["100.00"] * 5, "000 | 000 | 000")
    print_table(table)


def print_crowds() -> None:
    heads = ["images", "grayscale", "people", "people per image", "H x W, pixels", "points outside", "duplicate points"]
    table = make_table("part_A", ["part", *heads])
    table.add_row("train", "270", "6", "148,130", "33 to 3,138", "182 x 299 to 1024 x 1024", "1,215", "12")
    print_table(table)


def print_segmentors() -> None:
    row = {"network": "Share-full-SE", "pretrained": True, "seeds": [0, 1, 2], "parameters": 46_602_538}
    print_rows([{**row, **dict.fromkeys(("mIoU", "mAcc", "aAcc"), SPREAD)}], title="VOC 2012: 1449 validation images")


PRINTERS: dict[str, Callable[[], None]] = {
    "networks": print_networks,
    "benchmark": print_benchmark,
    "counters": lambda: print_scores({"best on validation": dict.fromkeys(KEYS, SPREAD)}, title="part_A"),
    "segmentors": print_segmentors,
    "search methods": print_methods,
    "crowds": print_crowds,
    "classes": lambda: print_metrics(
        {"classes": [{"class": "pottedplant", "IoU": 51.2, "Acc": None}], "mIoU": 51.2, "mAcc": 60.0, "aAcc": 90.1},
        title="EAN-SE",
    ),
}


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", PRINTERS)
def test_tables_fold_and_no_figure_is_cut(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = {columns: shown(PRINTERS[name], columns, monkeypatch) for columns in (width, 400)}
    assert max(map(len, printed[width].splitlines())) <= width
    assert "…" not in printed[width]
    words = {word for word in printed[400].split() if len(word) < 24 and "─" not in word}  # a long scheme may be folded
    assert words <= set(printed[width].split()), "a word or a figure was broken"
    assert set(re.findall(r"\(\S+ to \S+\)", printed[400])) == set(re.findall(r"\(\S+ to \S+\)", printed[width]))


def shown(work: Callable[[], None], width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is printed on a terminal of so many columns, without colors."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    work()
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())


def test_all_tables_are_made_in_one_place() -> None:
    folders = ("ean_core", "classification", "crowd_counting", "segmentation", "tools", "benchmarks")
    makers = [
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "rich.table" in (text := path.read_text(encoding="utf-8"))
        and any(
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Table", "LegibleTable")
            for node in ast.walk(ast.parse(text))
        )
    ]
    assert makers == ["ean_core/utils/screen.py"]


def test_prose_is_wrapped_between_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    sentence = "A sentence of more than forty columns is wrapped [between] words :smile:."
    say(sentence)
    assert capsys.readouterr().out == sentence + "\n"
    lines = shown(lambda: say(sentence), 40, monkeypatch).splitlines()
    assert len(lines) == 2
    assert " ".join(lines) == sentence
    path = "work_dirs/quickstart_digits/share-full-seed0/classifier.pth"
    assert path in shown(lambda: say(f"written: {path}, and more"), 40, monkeypatch), "a path is not broken"


def test_a_verdict_is_easy_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    sentences = ["EAN is better than Org: +2.00 points.", "With one seed each .."]
    lines = shown(lambda: say_verdict(sentences), 30, monkeypatch).splitlines()
    assert lines == ["verdict:", "- EAN is better than Org:", "  +2.00 points.", "- With one seed each .."]
    assert shown(lambda: say_verdict([]), 30, monkeypatch) == ""


def test_a_name_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    table = make_table("classes [bold]", ["class", "images"])
    table.add_row("[red]bus", "3")
    printed = shown(lambda: print_table(table), 80, monkeypatch)
    assert "classes [bold]" in printed
    assert "[red]bus" in printed


def test_hints_can_be_copied(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    say_next([*script("tools/predict.py"), "my run/classifier.pth"], ["true"])
    first, second = capsys.readouterr().out.splitlines()
    assert shlex.split(first) == ["next:", "python", "tools/predict.py", "my run/classifier.pth"]
    assert second.strip() == "true"
    monkeypatch.chdir(tmp_path)
    assert Path(script("tools/predict.py")[1]).is_file()


@pytest.mark.parametrize("width", [40, 80, 100])
def test_a_long_hint_goes_on_after_a_backslash(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    report = ["python", "tools/report.py", "--html", "my run/report.html", "my run"]
    more = ["python", "tools/train_cls.py", "--scheme", "org", "work_dirs/a/scheme.json", "--seeds", "0", "1", "2"]
    lines = shown(lambda: say_next(report, more), width, monkeypatch).splitlines()
    assert max(map(len, lines)) <= width
    second = next(number for number, line in enumerate(lines) if "train_cls" in line)
    assert words_of(lines[:second]) == ["next:", *report]
    assert words_of(lines[second:]) == more
    assert any("--scheme org" in line for line in lines), "an option stays with its value"


def test_game_0_is_not_shown_twice() -> None:
    assert len(HEADS) == len(KEYS)
    assert "game0" not in KEYS  # it is the MAE
