"""run_search and its record: memory, budget, and the same end after any interruption. For every method."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ean_core.search import History, Reward, build_method, run_search
from ean_core.search.history import HistoryLine, read_lines
from ean_core.utils.errors import EANError

STEPS = 6


def finish(method, evaluate, history, **options):
    return run_search(method, evaluate, **{"steps": STEPS, "reward": Reward(), "history": history, **options})


def bits_of(history):
    return [(line.step, line.bits) for line in history.lines]


def without_seconds(history):
    return [replace(line, seconds=None) for line in history.lines]


def test_every_scheme_is_scored_once_and_the_counts_hold(build, evaluate):
    history = History(None)
    result = finish(build(), evaluate, history)
    assert len(evaluate.asked) == len(set(evaluate.asked)) == result.evaluations
    assert result.proposals == sum(not line.final for line in history.lines)
    assert history.lines[-1].evaluations == result.evaluations
    assert sum(line.new for line in history.lines) == result.evaluations
    assert result.best.reward == max(Reward().sparsity * (1 - b.count("1") / 9) + a for b, a in known(history).items())
    assert all(line.reward == pytest.approx(line.terms["sparsity"] + line.accuracy) for line in history.lines)


def known(history):
    return {line.bits: line.accuracy for line in history.lines}


def test_the_budget_of_evaluations_ends_the_search(evaluate):
    method = build_method("random", (3, 3, 3), seed=0, reward=Reward(), options={"schemes_per_step": 2})
    result = finish(method, evaluate, History(None), steps=500, max_evaluations=13)
    assert result.evaluations == 14
    assert result.proposals == 14


def test_steps_are_counted_and_heard_of(evaluate):
    heard = []
    method = build_method("ean", (3, 3, 3), seed=0, reward=Reward(), options={"schemes_per_step": 4})
    result = finish(
        method,
        evaluate,
        History(None),
        on_step=lambda step, lines, *, replayed: heard.append((step, len(lines), replayed)),
    )
    assert heard == [(step, 4, False) for step in range(1, STEPS + 1)]
    assert result.proposals == 4 * STEPS
    with pytest.raises(EANError, match="at least one step"):
        finish(method, evaluate, History(None), steps=0)


def test_a_search_cut_anywhere_ends_the_same(build, new_evaluate, tmp_path):
    path = tmp_path / "history.jsonl"
    whole = History.open(path, resume=False)
    expected = finish(build(), new_evaluate(), whole)
    content = path.read_bytes()
    boundaries = [0, *(index + 1 for index, byte in enumerate(content) if byte == ord("\n"))]
    boundaries = boundaries[:: max(1, len(boundaries) // 30)]
    middles = [
        place + offset for place, offset in zip(boundaries[::4], (1, 17, 60, 111) * len(boundaries), strict=False)
    ]
    for cut in sorted({*boundaries, *middles, len(content) - 1, len(content)}):
        path.write_bytes(content[:cut])
        recorded = {json.loads(line)["bits"] for line in content[:cut].decode().split("\n")[:-1]}
        history, evaluate = History.open(path, resume=True), new_evaluate()
        result = finish(build(), evaluate, history)
        assert bits_of(history) == bits_of(whole), cut
        assert without_seconds(history) == without_seconds(whole), cut
        assert not recorded & set(evaluate.asked), cut
        assert result == expected, cut
        assert [json.loads(line)["bits"] for line in path.read_text().splitlines()] == [b for _, b in bits_of(whole)]


def test_a_finished_search_can_be_made_longer(build, new_evaluate, tmp_path):
    path = tmp_path / "history.jsonl"
    finish(build(), new_evaluate(), History.open(path, resume=False))
    longer = History.open(path, resume=True)
    evaluate = new_evaluate()
    result = finish(build(), evaluate, longer, steps=STEPS + 3)
    straight = History(None)
    assert finish(build(), new_evaluate(), straight, steps=STEPS + 3) == result
    assert bits_of(longer) == bits_of(straight)


LINE = HistoryLine(1, "1", 50.0)


@pytest.mark.parametrize(
    "text",
    [
        '{"step": 1, "bits": "10", "accuracy": 50.0}',
        '{"step": 2, "bits": "10", "accuracy": 50.0, "reward": 51.0, "terms": {"accuracy": 50.0}, "connections": 1, '
        '"new": false, "evaluations": 3, "increment": 0.5, "p": [0.5, 0.25], "p_mean": 0.5, "seconds": 0.01}',
        '{"step": 3, "bits": "00", "accuracy": 50.0, "reward": 51.0, "terms": {"accuracy": 50.0}, "connections": 0, '
        '"new": true, "evaluations": 1, "final": true}',
    ],
)
def test_a_line_is_written_as_it_was_read(text, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(text + "\n")
    (line,) = read_lines(path)
    assert line.to_json() == text
    assert (line.p is None, line.final) == ('"p"' not in text, "final" in text)


def test_an_existing_record_is_not_written_over(tmp_path):
    path = tmp_path / "history.jsonl"
    History.open(path, resume=False).append([LINE])
    with pytest.raises(EANError, match="--resume"):
        History.open(path, resume=False)
    assert History.open(path, resume=True).lines == [LINE]


@pytest.mark.parametrize("damaged", ['{"bits": "0', '{"bits": "0"}', "123", "[]", ""])
def test_a_damaged_line_in_the_middle_is_refused(tmp_path, damaged):
    path, good = tmp_path / "history.jsonl", LINE.to_json()
    path.write_text(f"{good}\n{damaged}\n{good}\n")
    with pytest.raises(EANError, match="line 2"):
        History.open(path, resume=True)


def test_a_record_that_says_otherwise_is_replaced_from_there(build, new_evaluate, tmp_path):
    path = tmp_path / "history.jsonl"
    whole = History.open(path, resume=False)
    expected = finish(build(), new_evaluate(), whole)
    lines = path.read_text().splitlines()
    place = len(lines) // 2
    changed = json.loads(lines[place])
    changed["bits"], changed["accuracy"] = "010101010", 66.5
    path.write_text("\n".join([*lines[:place], json.dumps(changed), *lines[place + 1 :]]) + "\n")
    history = History.open(path, resume=True)
    result = finish(build(), new_evaluate(), history)
    assert bits_of(history)[:place] == bits_of(whole)[:place]
    if "010101010" not in known(whole):  # a score that is in the record is believed, also one of a dropped line
        assert bits_of(history) == bits_of(whole)
        assert result == expected
    assert History.open(path, resume=True).lines == history.lines


def test_a_record_that_is_removed_ends_the_search(evaluate, tmp_path):
    path = tmp_path / "history.jsonl"
    method = build_method("ean", (3, 3, 3), seed=0, reward=Reward())
    with pytest.raises(EANError, match="was removed while the search was writing it"):
        finish(method, evaluate, History.open(path, resume=False), on_step=lambda *_, replayed: path.unlink())
    assert not path.exists()
