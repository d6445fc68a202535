"""The pipeline over counters: scores against a slow pass, resuming, retraining, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from crowd_counting.data.points import CrowdData, total_count
from crowd_counting.data.shanghaitech import load_shanghaitech
from crowd_counting.evaluation import score_file
from crowd_counting.job import Job as CountingJob
from crowd_counting.metrics import summarize_errors
from crowd_counting.model.network import Counter, CounterSpec
from crowd_counting.model.pretrained import InitialWeights, make_spec
from crowd_counting.model.training_model import CountingModel, evaluate
from crowd_counting.recipe import ModelRecipe, Recipe
from crowd_counting.task import CountingTask, searched_task
from ean_core.benchmark.latency_table import LatencyTable, device_name
from ean_core.benchmark.per_block import network_of_config
from ean_core.io.records import read_record
from ean_core.pipeline.comparison.compare import Comparison
from ean_core.pipeline.job import Job
from ean_core.pipeline.pipeline import run_comparison, run_pipeline
from ean_core.pipeline.search_constraints import SearchConstraints
from ean_core.pipeline.supernet import train_supernet
from ean_core.scheme import Scheme
from ean_core.search.comparison import Budget
from ean_core.search.method_choice import parse_methods
from ean_core.supernet.bn_calibration import batch_norms
from ean_core.supernet.paths import draw_path
from ean_core.training.hooks import DrawPaths, ShowProgress
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import Interval
from tests.crowd_counting.test_fit import TINY
from tests.crowd_counting.test_recipe import CONFIGS
from tests.helpers.killing import Killed, kill_at
from tests.helpers.quick_runs import quick_runs  # noqa: F401
from tests.helpers.ranks import two_forks
from tests.helpers.search_of_two import check_search, search_and_train
from tests.helpers.tiny_recipe import check_same_weights, ean_directory

SEARCH = {
    **{name: value for name, value in TINY.items() if name != "model.scheme"},
    "train.epochs": 1,
    "supernet.epochs": 2,
    "search.steps": 4,
    "search.options": {"schemes_per_step": 2},
    "retrain": ["org", "ean"],
}


def make_job(crowd: CrowdData, directory: Path, *, resume: bool = False, launcher: str = "none", **options: Any) -> Job:
    given = {**SEARCH, **{key.replace("__", "."): value for key, value in options.items()}}
    recipe = Recipe.read(None, given)
    task = searched_task(recipe, CountingJob.prepare(recipe, crowd, directory=directory))
    return Job(task, directory, resume=resume, launcher=launcher)


def random_supernet(task: CountingTask) -> Counter:
    """An untrained supernet whose paths differ."""
    torch.manual_seed(0)
    counter = task.spec().build()
    counter.set_initial_density(0.05)
    for norm in batch_norms(counter):
        norm.running_mean.normal_(0, 0.3)
        norm.weight.data.uniform_(0.5, 2)
    torch.nn.init.normal_(counter.head[-1].weight, std=0.5)
    return counter.eval()


@pytest.mark.parametrize("features", ["stage3", "all"])
def test_scores_equal_a_slow_pass(crowd: CrowdData, tmp_path: Path, features: str) -> None:
    task = make_job(crowd, tmp_path, model__features=features).task
    supernet, val = random_supernet(task), task.counting.split[1]
    schemes = [Scheme.parse(bits, blocks=(3, 3, 3)) for bits in ("101011100", "101011111", "101000001", "0" * 9)]

    def slowly(scheme: Scheme) -> float:
        supernet.set_scheme(scheme)
        rows = evaluate(CountingModel(supernet, task.counting.normalize()), task.counting.val_loader())
        return 100 - 100 * summarize_errors(rows)["mae"] / (total_count(val) / len(val))

    wanted = [slowly(scheme) for scheme in schemes]
    assert len({round(value, 3) for value in wanted}) == 4
    scores = task.make_scorer(supernet)(schemes)
    assert scores == pytest.approx(wanted, abs=1e-3)
    assert task.make_scorer(supernet)([schemes[2]]) == [scores[2]]  # whatever was cached


def test_calibration_changes_trained_statistics_only(crowd: CrowdData, tmp_path: Path) -> None:
    task = make_job(crowd, tmp_path, search__bn_images=4, search__bn_batch_size=2).task
    supernet = random_supernet(task)
    scheme = Scheme.all_on((3, 3, 3))
    plain = task.with_recipe(task.recipe.replace(search=dataclasses.replace(task.recipe.search, bn_images=0)))
    before = plain.make_scorer(supernet)([scheme])
    assert task.make_scorer(supernet)([scheme]) != before
    supernet.freeze_batch_norm()
    assert task.make_scorer(supernet)([scheme]) == before


def test_interrupted_anywhere_and_resumed_equals_uninterrupted(
    crowd: CrowdData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    straight = run_pipeline(make_job(crowd, tmp_path / "straight"))
    printed = capsys.readouterr().out
    assert "test MAE people" in printed
    assert "accuracy" not in printed
    drawn = []
    original = DrawPaths.before_train_iter

    def draw(self: DrawPaths, runner: Any, *rest: Any, **more: Any) -> None:
        original(self, runner, *rest, **more)
        drawn.append((runner.iter, runner.model.paths))

    # In the supernet's second epoch; and in Org, after that epoch's 3 steps.
    for resume, number in ((False, 5), (True, 4)):
        with monkeypatch.context() as patch:
            patch.setattr(DrawPaths, "before_train_iter", draw)
            kill_at(patch, ShowProgress, "after_train_iter", number, done=True)
            with pytest.raises(Killed):
                run_pipeline(make_job(crowd, tmp_path / "stopped", resume=resume))
    resumed = run_pipeline(make_job(crowd, tmp_path / "stopped", resume=True))
    assert all(paths == [draw_path((3, 3, 3), seed=0, step=step)] for step, paths in drawn)
    assert resumed.read_text().replace("stopped", "") == straight.read_text().replace("straight", "")
    files = ("supernet.pth", "org-seed0/best.pth", f"{ean_directory(straight.parent).name}/best.pth")
    check_same_weights(straight.parent, resumed.parent, *files)
    rows = [read_record(path.with_name("summary.json"))["metrics"] for path in (straight, resumed)]
    assert [row["mae"] for row in rows[0]] == [row["mae"] for row in rows[1]]
    tested, _ = score_file(straight.parent / "org-seed0" / "best.pth", crowd.test)
    assert rows[0][0]["mae"]["mean"] == pytest.approx(summarize_errors(tested)["mae"])
    assert rows[0][0]["mae"]["mean"] == pytest.approx(
        sum(read_record(straight.parent / "org-seed0" / "result.json")["metrics"]["per_image"]) / len(crowd.test)
    )


def test_comparison_with_darts_and_a_sandwich(crowd: CrowdData, tmp_path: Path) -> None:
    job = make_job(crowd, tmp_path, supernet__sandwich=True, supernet__epochs=1, supernet__validate_every=1)
    budget = Budget(evaluations=4, proposals=4, samples=2)
    what = Comparison(parse_methods(["random,darts"]), 1, budget, exhaustive=False)
    metrics = read_record(run_comparison(job, what))["metrics"]
    assert [run["method"] for run in metrics["runs"]] == ["random", "darts"]


def test_a_gradient_is_that_of_the_score(crowd: CrowdData, tmp_path: Path) -> None:
    task = make_job(crowd, tmp_path).task
    supernet = random_supernet(task)
    gradient = task.make_gradient(supernet, images=2, seed=0)
    a = torch.full((9,), 0.4).double().numpy()
    _, slope = gradient(a, step=0)
    for bit in (0, 8):
        up, down = a.copy(), a.copy()
        up[bit] += 0.01
        down[bit] -= 0.01
        numeric = (gradient(up, step=0)[0] - gradient(down, step=0)[0]) / 0.02
        assert slope[bit] == pytest.approx(numeric, rel=0.05, abs=2e-3)


def test_schemes_of_the_built_stages(crowd: CrowdData, tmp_path: Path) -> None:
    """A counter has three of the four stages, and a search has found bits for these three."""
    task = make_job(crowd, tmp_path).task
    counting = dataclasses.replace(task.counting, spec=CounterSpec("resnet18", "se"))
    deep = dataclasses.replace(task, counting=counting)
    assert deep.blocks() == (2, 2, 2)
    assert deep.spec(scheme="101010").scheme == "10101000"
    path = tmp_path / "scheme.json"
    Scheme.parse("101010", blocks=(2, 2, 2)).save(path, attention="se", arch="resnet18")
    spec = make_spec(ModelRecipe(scheme=str(path)), InitialWeights())
    assert (spec.arch, spec.attention, spec.scheme) == ("resnet18", "se", "10101000")
    assert make_spec(ModelRecipe("resnet18", "se", scheme="11111111"), InitialWeights()).scheme == "11111111"
    with pytest.raises(EANError, match="4 bits"):
        make_spec(ModelRecipe("resnet18", "se", scheme="1010"), InitialWeights())


def test_a_time_limit_needs_the_counters_own_table(crowd: CrowdData, tmp_path: Path) -> None:
    added = tuple(Interval(float(number), 0.0, 9.0) for number in range(1, 10))
    shape = {"blocks": (3, 3, 3), "batch_size": 1, "image_size": 32, "device": device_name("cpu")}
    names = {"arch": "resnet20", "attention": "se", "options": {}, "sharing": "stage", "model": "counter"}
    more = {"setting": "eager", "threads": 1, "rounds": 2, "org": Interval(1.0, 1.0, 1.0), "increments": added}
    table = LatencyTable(**names, **shape, **more)
    table.save(tmp_path / "counter.json")
    dataclasses.replace(table, model="classifier").save(tmp_path / "classifier.json")
    limited = {"search__latency": str(tmp_path / "counter.json"), "search__max_increment": 8.0}
    constraints = SearchConstraints.of(make_job(crowd, tmp_path / "run", **limited))
    assert constraints.allows(Scheme.parse("1" * 3 + "0" * 6, blocks=(3, 3, 3)))
    assert not constraints.allows(Scheme.parse("0" * 8 + "1", blocks=(3, 3, 3)))
    limited["search__latency"] = str(tmp_path / "classifier.json")
    with pytest.raises(EANError, match="was measured for model 'classifier', but this run is for 'counter'"):
        SearchConstraints.of(make_job(crowd, tmp_path / "run", **limited))


def test_the_network_of_a_latency_table() -> None:
    network, names = network_of_config(str(CONFIGS / "demo.py"))
    assert names == {"arch": "resnet20", "attention": "se", "options": {}, "sharing": "stage", "model": "counter"}
    assert (type(network), network.scheme.connections) == (Counter, 9)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"search__steps": 0}, "search.steps must be at least 1"),
        ({"supernet__epochs": 0}, "supernet.epochs must be at least 1"),
        ({"supernet__loss": "mae"}, "unknown loss 'mae'"),
        ({"supernet__random_paths": 0}, "supernet.random_paths must be at least 1"),
        ({"supernet__validate": 0}, "unknown field 'validate' in section 'supernet' of the recipe"),
        ({"retrain": ["best"]}, "unknown entry of retrain 'best'"),
    ],
)
def test_mistakes_have_their_sentences(crowd: CrowdData, tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        make_job(crowd, tmp_path, **options)
    assert not list(tmp_path.glob("*.json"))


def test_no_heads_and_no_search(crowd: CrowdData, tmp_path: Path) -> None:
    nobody = [dataclasses.replace(image, points=image.points[:0]) for image in crowd.train]
    with pytest.raises(EANError, match="none of the 2 validation images shows people"):
        make_job(dataclasses.replace(crowd, train=tuple(nobody)), tmp_path)
    recipe = Recipe.read(None, {name: value for name, value in SEARCH.items() if "search" not in name})
    task = searched_task(recipe, CountingJob.prepare(recipe, crowd, directory=tmp_path))
    with pytest.raises(EANError, match="no supernet and search sections"):
        run_pipeline(Job(task, tmp_path))


def test_another_network_is_not_scored(crowd: CrowdData, tmp_path: Path) -> None:
    path = train_supernet(make_job(crowd, tmp_path, supernet__epochs=1))
    with pytest.raises(EANError, match="holds a resnet20 with se, made for other data or options"):
        make_job(crowd, tmp_path, model__head_channels=16).task.load_supernet(path)


def test_mean_masks_stand_in_for_unconnected_calls(crowd: CrowdData, tmp_path: Path) -> None:
    job = make_job(crowd, tmp_path / "run", search__unconnected="mean")
    supernet = job.task.load_supernet(train_supernet(job))
    assert any(bool((stage.mean_masks.steps > 0).any()) for stage in supernet.stages)
    assert len(job.task.make_scorer(supernet)([Scheme.all_off((3, 3, 3))])) == 1
    assert job.task.spec(scheme="1" * 9).unconnected == "identity"


def search_in_two(launcher: str, rank: int, directory: Path) -> None:
    """One of two processes of a search."""
    job = make_job(load_shanghaitech(directory / "data", "A"), directory / "two", launcher=launcher)
    search_and_train(job, rank, directory)


@pytest.mark.slow
def test_two_processes_search_as_one(crowd: CrowdData, tmp_path: Path) -> None:
    """Each trains on its part, both score alike and as a single process scores, and the first one writes."""
    two_forks(search_in_two, tmp_path)
    check_search(make_job(crowd, tmp_path / "alone"), tmp_path)
