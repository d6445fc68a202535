"""Sentences and help texts fit the terminal, and nothing is broken inside a word."""

from __future__ import annotations

import io
import shlex

import pytest

from ean_core.cli import make_parser
from ean_core.utils.errors import EANError, command
from ean_core.utils.wrapping import print_wrapped, wrap_help, wrap_lines
from tests.helpers.terminal import Terminal

TEXT = """\
example:
  python tools/search.py                    the quickstart, minutes on a laptop
  python tools/train_cls.py classification/configs/ean_se_r164_cifar100.py --scheme org share-full \\
      work_dirs/ean_se_r164_cifar100/scheme.json --seeds 0 1 2

Trains every network with every seed by the recipe's train section, and tests the last epoch's weights.
modes:
  eager     the network as it was trained: float32, contiguous, and nothing that would make it faster
  folded    channels_last"""


def test_remarks_go_below_their_commands_where_there_is_no_room() -> None:
    narrow = wrap_help(TEXT, width=60).splitlines()
    assert max(map(len, narrow)) <= 60
    assert "  python tools/search.py   the quickstart, minutes on a laptop" in wrap_help(TEXT, width=120).splitlines()
    assert narrow[1:3] == ["  python tools/search.py", "      the quickstart, minutes on a laptop"]
    meaning = narrow.index("  eager    the network as it was trained: float32,")
    assert narrow[meaning + 1].startswith(" " * 11 + "contiguous"), "below itself"


def words_of(lines: list[str]) -> list[str]:
    """What a shell makes of the lines."""
    return shlex.split("\n".join(lines).replace("\\\n", ""))


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_command_can_be_copied_at_any_width(width: int) -> None:
    lines = wrap_help(TEXT, width=width).splitlines()
    first = next(number for number, line in enumerate(lines) if "train_cls" in line)
    last = next(number for number in range(first, len(lines)) if not lines[number].endswith("\\"))
    assert words_of(lines[first : last + 1]) == words_of(TEXT.splitlines()[2:4])


def test_options_are_not_broken_at_a_hyphen(monkeypatch: pytest.MonkeyPatch) -> None:
    for columns in range(40, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        parser = make_parser(TEXT, usage="")
        parser.add_argument("--modes", help="see below (default eager folded; eager with --per-block and --no-retrain)")
        shown = parser.format_help()
        assert "--per-block" in shown
        assert "--no-retrain" in shown


def test_sentences_are_wrapped_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    path = "a/path/that/is/longer/than/the-terminal.json"
    sentence = f"error: {path} does not exist: expected the file of a scheme"
    pipe, terminal = io.StringIO(), Terminal()
    print_wrapped(sentence, file=pipe)
    print_wrapped(sentence, file=terminal)
    assert pipe.getvalue() == f"{sentence}\n"
    assert path in terminal.getvalue(), "whole, so that it can be copied"
    assert " ".join(terminal.getvalue().split()) == sentence
    assert max(len(line) for line in terminal.getvalue().splitlines() if path not in line) <= 30


def test_a_number_stays_with_its_unit_and_an_indented_line_with_its_own() -> None:
    assert wrap_lines("accuracy 51.4 %, 1.7 MB", width=14) == "accuracy\n51.4 %, 1.7 MB"
    assert wrap_lines("  limits: few people", width=14) == "  limits: few\n    people"
    assert wrap_lines("a.jpg: bee, ant", width=14, hang=4) == "a.jpg: bee,\n    ant"


def test_a_command_within_a_text_can_be_copied() -> None:
    command = "python tools/search.py configs/a.py --data-root 'my images' --seeds 0 1 2"
    lines = wrap_lines(f"to start from weights:\n  {command}", width=40).splitlines()
    assert lines[0] == "to start from weights:"
    assert max(map(len, lines)) <= 40
    assert words_of(lines[1:]) == shlex.split(command)


def test_errors_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())

    @command
    def fail() -> None:
        raise EANError("nothing is there: give the path of a folder that holds a folder for each class")

    with pytest.raises(SystemExit):
        fail()
    assert len(terminal.getvalue().splitlines()) > 1
    assert max(map(len, terminal.getvalue().splitlines())) <= 40
