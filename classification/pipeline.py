"""The whole of it: supernet -> search -> retraining -> table."""

from __future__ import annotations

from pathlib import Path

from classification.parts import Job
from classification.retrain import make_target, train_all
from classification.search import search_scheme
from classification.summary import print_table, summarise
from classification.supernet import both_sections, train_supernet
from ean_core.networks import stages_blocks
from ean_core.scheme import Scheme
from ean_core.search import build_method
from ean_core.training.distributed import is_first


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
    build_method(  # a mistake in the search's settings must show before hours of training
        search.method, stages_blocks(recipe.model.arch), seed=recipe.seed, reward=search.reward, options=search.options
    )
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
            print_table(rows, title=f"{recipe.name}: {job.data.name} test images, {len(recipe.seeds)} seed(s)")
            if recipe.note:
                print(recipe.note)
    if is_first():
        files = ["scheme.json", "search.png", "history.jsonl", "supernet.pth", "summary.json"]
        print(f"files in {job.directory}/: " + "  ".join(name for name in files if (job.directory / name).exists()))
    return scheme
