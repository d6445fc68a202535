"""Messages are one legible line of bounded length, whatever names and values go into them."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

import pytest

from ean_core.cli import make_parser, parse_options
from ean_core.scheme import Scheme, as_scheme
from ean_core.utils.errors import EANError, command, one_line
from ean_core.utils.screen import make_table, print_table, quoted, say, say_next

STEERING = "a\x1b[31mb\nc\td\u202ee\u2028f\udcffg"
SHOWN = r"a\x1b[31mb\nc\td\u202ee\u2028f\udcffg"
LONGEST = 1100


def test_a_message_shows_what_would_steer_the_terminal() -> None:
    error = EANError(f"{STEERING} is unknown")
    assert str(error) == f"{SHOWN} is unknown"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert one_line(str(error)) == str(error)


@pytest.mark.parametrize("value", ["x" * 100_000, "x y " * 100_000, "/folder" * 600])
def test_a_message_keeps_its_start_and_its_advice(value: str) -> None:
    text = str(EANError(f"the class {value} is unknown, in {value}: give another"))
    assert len(text) < LONGEST
    assert text.startswith(f"the class {value[:100]}")
    assert text.endswith(f"{value[-40:]}: give another")
    assert "characters left out]" in text
    assert one_line(text) == text


def test_a_message_with_a_usual_path_stays_whole() -> None:
    text = f"{'/a_folder' * 25}/scheme.json does not exist: run tools/search.py first, or give the bits"
    assert str(EANError(text)) == text


@pytest.mark.parametrize(
    "scheme", ["1" * 10_000, "1 | " * 3000, "x" * 100_000, STEERING, "(" * 5000, "٠١١١١١", "1e0 1 1 1 1 1"]
)
def test_odd_schemes_are_refused_in_one_line(scheme: str) -> None:
    with pytest.raises(EANError) as refused:
        as_scheme(scheme, (2, 2, 2))
    assert len(str(refused.value)) < LONGEST
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "error", [EANError(STEERING), EANError(STEERING * 1000), FileNotFoundError(2, "No such file", STEERING * 1000)]
)
def test_a_command_prints_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        command(fail)()
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: a\\x1b[31mb")
    assert len(line) < LONGEST
    assert line.isprintable()


def test_a_wrong_argument_gives_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser("example", usage="").parse_args([STEERING * 1000])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "unrecognized arguments: a\\x1b[31mb" in last
    assert len(last) < LONGEST


@pytest.mark.parametrize("text", ["(" * 300 + ")" * 300, "-" * 100_000 + "1", "[" * 3000, "9" * 5000])
def test_an_option_that_python_cannot_parse_is_a_string(text: str) -> None:
    value = parse_options([f"model.arch={text}"])["model.arch"]
    assert value == text or isinstance(value, int)


def test_lines_tables_and_hints_show_names_legibly(capsys: pytest.CaptureFixture[str]) -> None:
    say(STEERING)
    table = make_table(STEERING, ["class"])
    table.add_row(STEERING)
    print_table(table)
    say_next(["python", "tools/predict.py", STEERING])
    printed = capsys.readouterr().out
    assert printed.count(SHOWN) == 3
    assert all(line.isprintable() for line in printed.splitlines())


@pytest.mark.parametrize("word", ["a b", "x.jpg", "x\x1b[31m'\\y", "a\nb", "\u202eabc", "\udcff\udcfe.jpg", "中"])
def test_a_hint_can_be_copied(word: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(word)}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(word)


def test_a_scheme_file_of_many_blocks_is_refused_in_one_line(tmp_path: Path) -> None:
    Scheme.all_on((1,) * 10_000).save(tmp_path / "scheme.json", arch=STEERING)
    with pytest.raises(EANError) as refused:
        Scheme.load(tmp_path / "scheme.json", blocks=(2, 2, 2))
    assert len(str(refused.value)) < LONGEST
    assert str(refused.value).endswith("but the network has 2+2+2 blocks")
