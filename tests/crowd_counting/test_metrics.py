"""The figures against their definitions in loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from crowd_counting.hooks import ShowCounting
from crowd_counting.metrics import (
    CountMetric,
    ImageErrors,
    errors_by_count,
    game,
    image_errors,
    summarize_empty,
    summarize_errors,
    summarize_parts,
    summarize_validation,
)
from tests.crowd_counting.conftest import random_points


def slow_game(density: np.ndarray, points: np.ndarray, *, stride: int, level: int) -> float:
    """Walk over the regions; in each, add up the cells and count the heads whose cell is there."""
    height, width = density.shape
    parts, total = 2**level, 0.0
    for i in range(parts):
        for j in range(parts):
            rows = range(round(i * height / parts), round((i + 1) * height / parts))
            columns = range(round(j * width / parts), round((j + 1) * width / parts))
            estimated = sum(density[row, column] for row in rows for column in columns)
            heads = sum(int(y // stride) in rows and int(x // stride) in columns for x, y in points)
            total += abs(estimated - heads)
    return total


@pytest.mark.parametrize("level", range(4))
@pytest.mark.parametrize("size", [(64, 64), (50, 93), (3, 90)])
def test_game_against_loops(level: int, size: tuple[int, int]) -> None:
    points = random_points(60, size)
    density = np.random.default_rng(1).random((-(-size[0] // 8), -(-size[1] // 8)))
    game = image_errors("a", density, points, stride=8).game[level]
    assert game == pytest.approx(slow_game(density, points, stride=8, level=level))


def test_game_grows_with_the_level_and_starts_at_the_absolute_error() -> None:
    errors = image_errors("a", np.random.default_rng(0).random((8, 8)), random_points(20, (64, 64)), stride=8)
    assert errors.game[0] == pytest.approx(abs(errors.error))
    assert list(errors.game) == sorted(errors.game)


def test_game_sees_heads_in_the_wrong_place() -> None:
    difference = np.zeros((4, 4))
    difference[0, 0], difference[3, 3] = 1, -1
    assert [game(difference, level) for level in range(3)] == [0, 2, 2]


def test_definitions() -> None:
    rows = [
        ImageErrors("a", 10, 13.0, (3.0,) * 4),
        ImageErrors("b", 4, 3.0, (1.0,) * 4),
        ImageErrors("c", 0, 2.0, (2.0,) * 4),
    ]
    summary = summarize_errors(rows)
    assert summary["mae"] == pytest.approx((3 + 1 + 2) / 3)
    assert summary["rmse"] == pytest.approx(math.sqrt((9 + 1 + 4) / 3))
    assert list(summary) == ["mae", "rmse", "nae", "game0", "game1", "game2", "game3", "images"]
    assert summary["nae"] == pytest.approx((0.3 + 0.25) / 2)  # nobody in the third: it has no relative error
    assert summary["game2"] == pytest.approx(2.0)
    assert summary["images"] == 3
    assert summarize_errors(rows[2:])["nae"] is None


def test_score_is_against_the_annotated_number() -> None:
    """Five annotated, two of them outside the image, where no map has mass."""
    points = np.array([(1, 1), (9, 9), (30, 3), (99, 3), (-5, -5)], dtype=np.float32)
    errors = image_errors("a", np.full((4, 4), 3 / 16), points, stride=8)
    assert errors.annotated == 5
    assert errors.error == pytest.approx(-2.0)
    assert errors.game[0] == pytest.approx(2.0)


def test_the_metric_adds_up_over_batches() -> None:
    metric = CountMetric()
    rows = [ImageErrors(str(i), i, i + 0.5 * i, (0.5 * i,) * 4) for i in range(5)]
    for row in rows:
        metric.process(None, [row])
    assert metric.evaluate(5) == summarize_errors(rows)
    assert metric.results == []


def made_rows() -> list[ImageErrors]:
    """Two parts and photos without people: (true count, error)."""
    given = {"A": [(400, 40.0), (249, -10.0), (250, 30.0)], "B": [(49, 4.0), (1, -1.0)], "empty": [(0, 2.0), (0, 5.0)]}
    return [
        ImageErrors(f"{part}/{number}", true, true + error, (abs(error),) * 4, part)
        for part, rows in given.items()
        for number, (true, error) in enumerate(rows)
    ]


def test_errors_by_the_true_count() -> None:
    ranges = {row.low: row for row in errors_by_count(made_rows())}
    assert [row.people for row in ranges.values()] == ["0", "1 to 49", "100 to 249", "250 to 499"]  # others are empty
    assert (ranges[0].images, ranges[0].mae, ranges[0].bias, ranges[0].relative) == (2, 3.5, 3.5, None)
    assert (ranges[1].mae, ranges[1].bias) == (2.5, 1.5)
    assert ranges[1].relative == pytest.approx((4 / 49 + 1) / 2)
    assert (ranges[250].images, ranges[250].mae) == (2, 35.0)
    assert errors_by_count([ImageErrors("a", 3139, 3000.0, (139.0,) * 4)])[0].people == "1,000 and more"
    nobody = summarize_empty([row for row in made_rows() if row.part == "empty"])
    assert (nobody.images, nobody.mean, nobody.largest) == (2, 3.5, 5.0)


def test_several_parts_have_no_figure_in_common_but_the_relative_error() -> None:
    rows = made_rows()
    tested = summarize_parts(rows[:5])
    assert list(tested) == ["A", "B"]
    assert tested["B"] == summarize_errors(rows[3:5])
    figures = summarize_validation(rows)
    assert figures["A/mae"] == pytest.approx(80 / 3)
    assert figures["empty/nae"] is None
    assert not {"mae", "rmse"} & set(figures)
    usual = (899 / 3 + 25) / 2  # photos without people have no mean count of their own
    assert figures["relative_error"] == pytest.approx((80 / 899 + 2.5 / 25 + 3.5 / usual) / 3)
    assert summarize_validation(rows[:3]) == summarize_errors(rows[:3])


def test_one_part_keeps_its_names_beside_photos_without_people() -> None:
    figures = summarize_validation([replace(row, part="") if row.part == "A" else row for row in made_rows()])
    assert {"mae", "empty/mae", "relative_error"} <= set(figures)
    assert ShowCounting(None).format_metrics(figures) == (
        f"validation annotated MAE 26.7, RMSE 29.4; B MAE 2.5, RMSE 2.9; empty MAE 3.5, RMSE 3.8; relative error "
        f"{figures['relative_error']:.3f}"
    )
