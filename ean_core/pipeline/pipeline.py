"""Algorithm 1 from end to end: supernet -> search -> retraining -> table; and the comparison of searches."""

from __future__ import annotations

from pathlib import Path

from ean_core.io.records import read_record
from ean_core.pipeline.comparison.compare import Comparison, compare_methods
from ean_core.pipeline.comparison.coverage import check_coverage
from ean_core.pipeline.comparison.retrain import print_retrained, retrain_answers
from ean_core.pipeline.comparison.show import draw_all, print_comparison, published_schemes
from ean_core.pipeline.estimate import announce
from ean_core.pipeline.job import Job
from ean_core.pipeline.pareto_front import write_front
from ean_core.pipeline.retrain import Target, make_target, train_all
from ean_core.pipeline.search import check_own_scheme, search_scheme
from ean_core.pipeline.search_constraints import SearchConstraints
from ean_core.pipeline.search_sentences import describe_search
from ean_core.pipeline.summary import print_files, print_summary, summarize, write_summary
from ean_core.pipeline.summary_coverage import with_covered_seeds
from ean_core.pipeline.supernet import train_supernet
from ean_core.pipeline.task import summary_metrics
from ean_core.pipeline.verdicts import comparison_sentences
from ean_core.scheme import Scheme
from ean_core.utils.distributed import is_main_process, run_on_main_process
from ean_core.utils.screen import say, say_verdict
from ean_core.utils.shipped_files import SCHEMES
from ean_core.utils.text import how_many

FILES = ("scheme.json", "search.png", "pareto.json", "pareto.png", "history.jsonl", "supernet.pth", "summary.json")
"""What a run may leave in its work directory, besides the directories of the trainings."""


def run_pipeline(job: Job, *, retrain: bool = True) -> Path:
    """Do or resume everything that the recipe asks for, and print its results.

    Args:
        job: the run.
        retrain: train the recipe's `retrain` list from scratch and compare.

    Returns:
        scheme.json.
    """
    search, constraints = job.search, SearchConstraints.of(job)
    # A mistake in the search's settings must show before hours of training.
    constraints.make_method(search.method, search.options, seed=job.recipe.seed, supernet=None)
    constraints.print_warnings()
    run_on_main_process(lambda: check_own_scheme(job.directory))
    estimate = announce(job, targets=len(job.recipe.retrain) if retrain else 0)
    scheme = search_scheme(job, train_supernet(job, on_pace=estimate))
    if is_main_process():
        say(f"scheme found: {Scheme.load(scheme)}  ({scheme})", *describe_search(job))
    if job.recipe.retrain and retrain:
        targets = [
            make_target(job, str(scheme), label="ean") if label == "ean" else make_target(job, label)
            for label in job.recipe.retrain
        ]
        retrain_and_summarize(job, targets, job.directory / "summary.json", with_note=True)
    if is_main_process():
        files = [name for name in FILES if (job.directory / name).exists()]
        say(f"files in {job.directory}/: {'  '.join(files)}")
    return scheme


def retrain_and_summarize(job: Job, targets: list[Target], path: Path, *, with_note: bool = False) -> None:
    """Train networks from scratch with the recipe's seeds, and print and record what they score and cost.

    The record covers the seeds, too, that all the networks were trained with before.

    Args:
        job: the run.
        targets: what to train.
        path: the record to write.
        with_note: print the recipe's note under the table.

    Raises:
        EANError: if the directory is in use, or as `covered_seeds` and `train_all`.
    """
    job = with_covered_seeds(job, targets, path)
    recipe = job.recipe
    trained = train_all(job, targets, recipe.seeds)
    if not is_main_process():  # several clocks at once disturb each other
        return
    rows = summarize(trained, job, earlier=path)
    comparisons = comparison_sentences(trained)
    write_summary(path, rows, job, comparisons=comparisons)
    seeds, images = how_many(len(recipe.seeds), "seed"), job.task.dataset().test_images
    title = f"{recipe.name}: {how_many(images, 'test image')}, {seeds}"
    print_summary(rows, metrics=summary_metrics(job.task.metrics), title=title, images=images)
    print_files(trained)
    say_verdict(comparisons)
    if with_note and recipe.note:
        say(recipe.note)


def run_comparison(job: Job, comparison: Comparison, *, retrain: bool = False) -> Path:
    """Train the supernet, run all the searches on it, and show what they found; perhaps train that from scratch.

    Args:
        job: the run.
        comparison: methods, seeds and budget.
        retrain: also train each method's answer, for Table 4.

    Returns:
        comparison.json.
    """
    check_coverage(job.directory / "comparison" / "comparison.json", comparison, job)
    constraints = comparison.check(job)  # a mistake must show before hours of training
    constraints.print_warnings()
    path = compare_methods(constraints, train_supernet(job, on_pace=announce(job, targets=0)), comparison)
    if is_main_process():
        record = read_record(path)
        model = job.recipe.model
        origin = {"arch": model.arch, "attention": model.attention, "data": job.task.dataset().name}
        pictures = draw_all(record, path.parent, published=published_schemes(SCHEMES, **origin))
        front = write_front(path.parent, table=constraints.table)
        print_comparison(record, score=job.task.score)
        files = [path, *pictures, front, front.with_suffix(".png")]
        say("files: " + "  ".join(map(str, files)))
    if retrain:
        table = retrain_answers(job, read_record(path), path.with_name("retrained.json"))
        if is_main_process():
            from ean_core.report.plots_search import draw_retrained  # matplotlib takes a second to import

            record, metric = read_record(table), job.task.metrics[0]
            print_retrained(record, metrics=summary_metrics(job.task.metrics))
            picture = draw_retrained(table.with_suffix(".png"), record, key=metric.key, metric=metric.axis)
            say(f"files: {table}  {picture}")
    return path
