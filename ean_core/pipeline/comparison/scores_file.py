"""The scores that all searches of a comparison share, kept in comparison/scores.jsonl."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ean_core.pipeline.job import Job
from ean_core.pipeline.search import open_history
from ean_core.scheme import Scheme
from ean_core.search.history import read_lines
from ean_core.search.shared_scores import SharedScores
from ean_core.training.run_key import run_key
from ean_core.training.work_dir import claim, first_difference, read_claim
from ean_core.utils.distributed import is_main_process
from ean_core.utils.progress import bar


def open_scores(job: Job, network: nn.Module, directory: Path, *, supernet_sha256: str) -> SharedScores:
    """The memory of the work directory's comparison, with what its own search scored on the same supernet.

    Args:
        job: the run.
        network: the supernet.
        directory: of the comparison.
        supernet_sha256: of the supernet's file.

    Raises:
        EANError: if the directory holds a comparison on another supernet, other data or other batch-norm statistics.
    """
    search = job.search
    identity = {
        "part": "comparison",
        "supernet_sha256": supernet_sha256,
        "data": dict(job.task.dataset().fingerprint),
        "bn_images": search.bn_images,
        "bn_batch_size": search.bn_batch_size if search.bn_images else None,
        "seed": job.recipe.seed,
    }
    path = directory / "scores.jsonl"
    claim(directory, identity, resume=job.resume, begun=[path, directory / "runs"], work_dir=job.work_dir())
    history = open_history(path, resume=job.resume, run=run_key(identity))
    scores = SharedScores(history, job.task.make_scorer(network))
    scores.add(earlier_scores(job, identity))
    return scores


def earlier_scores(job: Job, identity: dict[str, Any]) -> list[tuple[str, float]]:
    """What a search in the same work directory scored, if it scored as this comparison does."""
    path, claimed = job.directory / "history.jsonl", job.directory / "search" / "run.json"
    if not path.exists() or not claimed.exists():
        return []
    earlier = read_claim(claimed)
    settings = earlier.get("search", {})
    same = {
        "part": "comparison",
        **{name: earlier.get(name) for name in ("supernet_sha256", "data", "seed")},
        "bn_images": settings.get("bn_images"),
        "bn_batch_size": settings.get("bn_batch_size") if settings.get("bn_images") else None,
    }
    if first_difference(same, json.loads(json.dumps(identity))):
        return []
    return [(line.bits, line.accuracy) for line in read_lines(path) if line.run in (None, run_key(earlier))]


def score_all(scores: SharedScores, schemes: Sequence[Scheme]) -> None:
    """Score those that were not scored before, under a progress bar."""
    unseen = [scheme for scheme in schemes if scheme.text not in scores.accuracies]
    if not unseen:
        return
    with bar("all schemes", len(unseen), show=is_main_process()) as progress:
        scores(unseen, on_chunk=lambda done: progress.update(done) if progress else None)
