"""The end of a counting run in words, from records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crowd_counting.verdict import verdicts
from ean_core.io.records import read_record, spread, write_record


def write_run(directory: Path, errors: dict[int, float], *, mean: float = 20.0, **model: Any) -> Path:
    """A finished run: seed -> MAE of its best counter, on four images that differ by what the seed adds."""
    model = {"arch": "resnet20", "attention": None, "sharing": "stage", "scheme": None, **model}
    settings = {"model": model, "data": {"name": "part_A", "workers": 1}, "train": {"epochs": 3}}
    metrics = {"best": {"mae": spread(list(errors.values()))}, "always_the_mean": {"mae": mean}}
    directory.mkdir(parents=True)
    summary = {**settings, "seeds": list(errors)}
    write_record(directory / "summary.json", kind="counting", settings=summary, metrics=metrics)
    for seed, mae in errors.items():
        per_image = [mae - 2, mae + 2, mae - 1, mae + 1]
        write_record(
            directory / f"seed{seed}/result.json",
            kind="counting",
            settings={**settings, "seed": seed},
            metrics={"best": {"per_image": per_image}},
        )
    return directory


def test_a_run_that_stands_alone_is_compared_with_the_mean_count(tmp_path: Path) -> None:
    better, alone = verdicts(write_run(tmp_path / "org", {0: 15.0}))
    assert better.startswith("The counter's error is 25 % below that of always giving the training images' mean count")
    assert alone.startswith("Nothing can be said about attention yet: ")
    assert "no better than always giving" in verdicts(write_run(tmp_path / "other/org", {0: 20.0}))[0]


def test_runs_beside_are_compared_by_their_seeds_or_images(tmp_path: Path) -> None:
    write_run(tmp_path / "org", {0: 15.0, 1: 16.0, 2: 15.5, 3: 15.2, 4: 15.8, 5: 15.4})
    searched = write_run(
        tmp_path / "ean", {0: 10.0, 1: 11.1, 2: 10.4, 3: 10.1, 4: 10.9, 5: 10.3}, attention="se", scheme="010"
    )
    _, by_seed = verdicts(searched)
    assert by_seed.startswith("EAN SE is better than Org in org/: -5.02 people of test MAE (95 % interval ")
    _, by_image, advice = verdicts(write_run(tmp_path / "full", {3: 10.0}, attention="se"))[:3]
    assert by_image.startswith("Share-full SE is better than EAN SE in ean/ on images like these: -0.10 people") or (
        "between Share-full SE and EAN SE in ean/" in by_image
    )
    assert "Org in org/" in advice


def test_other_data_and_damaged_records_are_passed_over(tmp_path: Path) -> None:
    write_run(tmp_path / "broken", {0: 10.0}, attention="se")
    (tmp_path / "broken/summary.json").write_text("{")
    damages = (
        {"mae": {"values": ["x"]}},
        {"mae": {"values": [1.0, 2.0]}},
        {"mae": 3},
        [],
        {"mae": {"values": [10**400]}},
    )
    for number, best in enumerate(damages):
        file = write_run(tmp_path / f"damaged{number}", {0: 10.0}, attention="se") / "summary.json"
        record = json.loads(file.read_text())
        file.write_text(json.dumps({**record, "metrics": {**record["metrics"], "best": best}}))
    (tmp_path / "none").mkdir()
    assert verdicts(write_run(tmp_path / "org", {0: 15.0}))[-1].startswith("Nothing can be said about attention yet")


def test_several_parts_have_a_sentence_each(tmp_path: Path) -> None:
    def write(name: str, errors: dict[str, float], **model: Any) -> Path:
        directory = write_run(tmp_path / name, {0: 1.0}, **model)
        for file in ("summary.json", "seed0/result.json"):
            record = read_record(directory / file)
            best = {part: {"mae": spread([mae])} for part, mae in errors.items()}
            per_image = {part: [mae - 2, mae + 2, mae - 1, mae + 1] for part, mae in errors.items()}
            best = best if file == "summary.json" else {"per_image": per_image}
            mean = {"part_A": {"mae": 20.0}, "part_B": {"mae": 5.0}}
            metrics = {"best": best, "always_the_mean": mean}
            write_record(directory / file, kind="counting", settings=record["settings"], metrics=metrics)
        return directory

    write("org", {"part_A": 12.0, "part_B": 4.0})
    on_a, on_b, compared_a, compared_b, _ = verdicts(write("se", {"part_A": 10.0, "part_B": 6.0}, attention="se"))
    assert on_a.startswith("The counter's error on part_A is 50 % below")
    assert on_b.startswith("The counter is no better on part_B than")
    assert "test MAE on part_A" in compared_a
    assert "test MAE on part_B" in compared_b
    assert compared_a.endswith("p = 0.25 corrected for 2 comparisons).")
