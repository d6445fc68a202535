"""The search of the pipeline: its method, its options and its answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from ean_core.pipeline.search import search_scheme, with_method
from ean_core.pipeline.supernet import train_supernet
from ean_core.search.history import read_lines
from ean_core.search.method_choice import parse_method
from tests.pipeline.conftest import MakeJob


def test_search_options_reach_the_search(job: MakeJob, tmp_path: Path) -> None:
    supernet = train_supernet(job("plain"))
    search_scheme(job("plain"), supernet)
    plain = read_lines(tmp_path / "plain" / "history.jsonl")
    search_scheme(job("bn", **{"search.bn_images": 40}), supernet)
    again = read_lines(tmp_path / "bn" / "history.jsonl")
    accuracy = {line.bits: line.accuracy for line in plain}
    assert any(accuracy.get(line.bits, line.accuracy) != line.accuracy for line in again)


def test_the_answer_is_the_one_asked_for_or_the_methods_own(job: MakeJob, tmp_path: Path) -> None:
    supernet = train_supernet(job("plain"))
    natural = job("smoothed")
    search = dataclasses.replace(natural.search, options={"preset": "natural"})
    wanted = {
        "most_probable": job("most_probable", **{"search.returned": "most_probable"}),
        "smoothed": natural.replace_recipe(search=search),
        "best": job("best"),
    }
    for answer, one in wanted.items():
        record = json.loads(search_scheme(one, supernet).read_text())
        assert record["returned"] == answer
        assert " | ".join(record["stages"]) == record[answer]["bits"]
        assert record["smoothed"]["reward"] <= record["best"]["reward"]
    hsp = with_method(job("hsp", **{"search.returned": "most_probable"}), parse_method("hsp"), {})
    assert json.loads(search_scheme(hsp, supernet).read_text())["returned"] == "best"  # it has no probabilities


def test_another_method_does_not_get_the_recipes_options(job: MakeJob) -> None:
    run = job("w")
    assert run.search.options == {"schemes_per_step": 2, "replay_from": 3}
    assert with_method(run, parse_method("ean"), {}).search.options == run.search.options
    given = {"search.steps": 3, "search.options.population": 4}
    other = with_method(run, parse_method("genetic"), given).search
    assert (other.method, dict(other.options)) == ("genetic", {"population": 4})


def test_the_papers_name_of_the_genetic_search_is_read_as_ours(job: MakeJob) -> None:
    options = {"search.method": "ga", "search.options": {"_delete_": True, "population": 4}}
    run = job("w", **options)
    assert run.search.method == "genetic"
    again = with_method(run, parse_method("ga"), {}).search  # the same method keeps the recipe's options
    assert (again.method, dict(again.options)) == ("genetic", {"population": 4})
