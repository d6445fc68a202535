"""`ean VERB`: the list, suggestions, and commands spelled as they were typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ean_core.utils import command_names
from ean_core.utils.command_names import spell_as_verbs, spelled
from ean_core.utils.screen import say, say_next, script
from tools.__main__ import VERBS, main


@pytest.fixture(autouse=True)
def process_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_names, "_verbs", {})
    monkeypatch.setattr(command_names, "_package", "")
    monkeypatch.setattr(sys, "argv", ["ean"])


def ends(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(words)
    return int(stop.value.code or 0)


@pytest.mark.parametrize("words", [(), ("--help",), ("help",)])
def test_the_list_has_a_line_for_each(
    words: tuple[str, ...], capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    main(words)
    lines = capsys.readouterr().out.splitlines()
    for name, verb in VERBS.items():
        assert [line.split(maxsplit=len(name.split()))[-1] for line in lines if line.startswith(f"  {name} ")] == [
            verb.text
        ]
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("serch",), "ean has no command 'serch'; did you mean 'search'?"),
        (("xyzzy",), "ean has no command 'xyzzy': run ean without arguments for the list"),
        (("crowd_counting/train.py", "--part", "A"), "that script is ean train-counter"),
        (("prepare",), "ean prepare needs one more word: ean prepare crowd, ean prepare voc"),
        (("prepare", "coco"), "ean prepare needs one more word"),
    ],
)
def test_a_mistyped_verb_gets_a_suggestion(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture
) -> None:
    assert ends(*words) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("columns", [80, 100])
def test_every_help_fits_the_terminal(
    columns: int, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    main(["--help"])
    for verb in VERBS:
        assert ends(*verb.split(), "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20 * len(VERBS)
    assert [line for line in lines if len(line) > columns] == []
    assert not any("tools/" in line and ".py" in line and "FILE.py" not in line for line in lines), "not an ean VERB"


def test_a_verb_runs_the_scripts_main(capsys: pytest.CaptureFixture) -> None:
    assert ends("prepare", "crowd", "--help") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: ean prepare crowd --part A")
    assert "\n  ean prepare crowd --part B" in shown
    assert ends("pareto", "nowhere", "--output", "s.json") == 2
    assert "error: --output is for the point that --take N names" in capsys.readouterr().err
    assert ends("train", "--help") == 0
    assert "torchrun --nproc_per_node 4 -m tools train " in capsys.readouterr().out


def test_texts_spell_commands_as_typed() -> None:
    text = "run tools/search.py first: python tools/search.py --resume; mytools/search.py and tools/search.pyc stay"
    assert spelled(text) == text
    spell_as_verbs({"tools/search.py": "ean search"}, package="ean_tools")
    assert spelled(text) == "run ean search first: ean search --resume; mytools/search.py and tools/search.pyc stay"


def test_what_is_printed_spells_commands_as_typed(capsys: pytest.CaptureFixture) -> None:
    spell_as_verbs({"crowd_counting/prepare.py": "ean prepare crowd"}, package="ean_tools")
    say_next([*script("crowd_counting/prepare.py"), "--demo"])
    say("draw it with python crowd_counting/prepare.py --demo")
    assert capsys.readouterr().out == "next: ean prepare crowd --demo\ndraw it with ean prepare crowd --demo\n"


def test_what_has_a_text_form_is_printed_too(capsys: pytest.CaptureFixture) -> None:
    spell_as_verbs({"tools/search.py": "ean search"}, package="ean_tools")
    say(Path("exported"))
    assert capsys.readouterr().out == "exported\n"
