"""The whole of it: supernet -> search -> retraining -> table."""

from __future__ import annotations

from pathlib import Path

from classification.compare import Comparison, compare_methods
from classification.compare_retrain import print_retrained, retrain_found
from classification.compare_show import draw_all, print_comparison, published_schemes
from classification.job import Job
from classification.latency import Rules
from classification.retrain import make_target, train_all
from classification.search import search_scheme
from classification.summary import print_files, print_table, summarise
from classification.supernet import both_sections, train_supernet
from ean_core.io.records import read_record
from ean_core.scheme import Scheme
from ean_core.search.pareto import write_front
from ean_core.utils.distributed import is_first
from ean_core.utils.text import how_many

SCHEMES = Path(__file__).resolve().parent.parent / "schemes"
"""The published and found schemes, drawn beside those of a comparison of the same network on the same data."""


def run_pipeline(job: Job, *, retrain: bool = True) -> Path:
    """Do, or go on with, everything that the recipe asks for; print what a reader wants to know.

    Args:
        job: the run.
        retrain: train the recipe's `retrain` list from scratch and compare.

    Returns:
        scheme.json.
    """
    recipe = job.recipe
    _, search = both_sections(job)
    rules = Rules.of(job)  # a mistake in the search's settings must show before hours of training
    rules.keep(rules.build(search.method, search.options, seed=recipe.seed))
    rules.warn()
    supernet = train_supernet(job)
    scheme = search_scheme(job, supernet)
    if is_first():
        print(f"scheme found: {Scheme.load(scheme)}  ({scheme})", flush=True)
    if recipe.retrain and retrain:
        targets = [
            make_target(job, str(scheme), label="ean") if label == "ean" else make_target(job, label)
            for label in recipe.retrain
        ]
        trained = train_all(job, targets, recipe.seeds)
        if is_first():
            rows = summarise(job, trained, job.directory / "summary.json")
            seeds = how_many(len(recipe.seeds), "seed")
            print_table(rows, title=f"{recipe.name}: {job.data.name} test images, {seeds}")
            if recipe.note:
                print(recipe.note)
            print_files(trained)
    if is_first():
        files = ["scheme.json", "search.png", "pareto.json", "pareto.png", "history.jsonl", "supernet.pth"]
        files.append("summary.json")
        print(f"files in {job.directory}/: " + "  ".join(name for name in files if (job.directory / name).exists()))
    return scheme


def run_comparison(job: Job, comparison: Comparison, *, retrain: bool = False) -> Path:
    """Train the supernet, run all the searches on it, and show what they found; perhaps train that from scratch.

    Args:
        job: the run.
        comparison: methods, seeds and budget.
        retrain: also train each method's answer, for Table 4.

    Returns:
        comparison.json.
    """
    rules = comparison.check(job)  # a mistake must show before hours of training
    rules.warn()
    path = compare_methods(rules, train_supernet(job), comparison)
    if is_first():
        record = read_record(path)
        model = job.recipe.model
        published = published_schemes(SCHEMES, arch=model.arch, attention=model.attention, data=job.data.name)
        pictures = draw_all(record, path.parent, published=published)
        front = write_front(path.parent, table=rules.table)
        print_comparison(record)
        files = [path, *pictures, front, front.with_suffix(".png")]
        print("files: " + "  ".join(map(str, files)), flush=True)
    if retrain:
        table = retrain_found(job, read_record(path), path.with_name("retrained.json"))
        if is_first():
            from ean_core.report.plots_search import draw_retrained  # matplotlib takes a second to import

            record = read_record(table)
            print_retrained(record)
            print(f"files: {table}  {draw_retrained(table.with_suffix('.png'), record)}")
    return path
