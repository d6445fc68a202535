"""Second part of the pipeline: search a scheme on the trained supernet (Algorithm 1, lines 6 to 22)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.io.scheme_record import read_scheme_file
from ean_core.pipeline.job import Job
from ean_core.pipeline.pareto_front import write_front
from ean_core.pipeline.recipe import SearchRecipe
from ean_core.pipeline.search_constraints import SearchConstraints
from ean_core.pipeline.task import Metric
from ean_core.scheme import Scheme, as_scheme, check_attention
from ean_core.search import ANSWERS, STREAMS, History, SearchResult, Trial, run_search
from ean_core.search.history import HistoryLine, read_lines
from ean_core.search.latency_limited_method import Limited
from ean_core.search.method_choice import MethodChoice
from ean_core.training.run_key import check_keys, run_key
from ean_core.training.work_dir import check_same, claim, read_claim
from ean_core.utils.checked_dataclasses import checked
from ean_core.utils.distributed import barrier, is_main_process, run_on_main_process
from ean_core.utils.errors import EANError, batch_of
from ean_core.utils.files import sha256_of
from ean_core.utils.progress import Bar, bar
from ean_core.utils.screen import say


def search_scheme(job: Job, supernet: Path) -> Path:
    """Search, or resume a search, and write history.jsonl, scheme.json and search.png.

    Args:
        job: the run.
        supernet: file that `train_supernet` wrote.

    Returns:
        scheme.json.
    """
    recipe, supernet_sha256 = job.search, sha256_of(supernet)
    network, constraints = job.task.load_supernet(supernet), SearchConstraints.of(job)
    scorer = job.task.make_scorer(network)
    method = constraints.make_method(recipe.method, recipe.options, seed=job.recipe.seed, supernet=network)
    path, output = job.directory / "history.jsonl", job.directory / "scheme.json"
    identity = search_identity(job, supernet_sha256)
    if ended_by_earlier_version(job, identity):
        return output
    claim(job.directory / "search", identity, resume=job.resume, begun=[path], work_dir=job.work_dir())
    history = open_history(path, resume=job.resume, run=run_key(identity))
    memory = batch_of(recipe.batch_size, option="--cfg-options search.batch_size")
    with memory, bar("search", recipe.steps, show=is_main_process()) as progress:
        result = run_search(
            method,
            scorer,
            steps=recipe.steps,
            reward=constraints.reward,
            history=history,
            max_evaluations=recipe.max_evaluations,
            on_step=None if progress is None else StepText(progress, constraints.blocks, job.task.score),
        )
    returned = recipe.returned or method.answer

    def write() -> None:
        from ean_core.report.plots import draw_search  # matplotlib takes a second to import

        write_scheme(output, job, result, returned, supernet_sha256)
        picture, score = job.directory / "search.png", job.task.score.axis
        draw_search(picture, history.lines, Scheme.load(output), score=score)
        write_front(job.directory, history.lines)

    run_on_main_process(write)
    if isinstance(method, Limited) and is_main_process():
        say(method.account(scored=result.evaluations, proposals=result.proposals))
    return output


def open_history(path: Path, *, resume: bool, run: str) -> History:
    """The file of a search's proposals or scores, which only the first process writes.

    Args:
        path: of the file.
        resume: go on with what it holds.
        run: key of the run.

    Raises:
        EANError: if it holds lines of another run, or as `History.open`.
    """

    def check() -> None:
        if resume and path.exists():
            check_keys((line.run for line in read_lines(path)), run, file=path)

    run_on_main_process(check)
    history = History.open(path, resume=resume, run=run) if is_main_process() else History.follow(path)
    barrier()
    return history


@dataclass(frozen=True)
class OwnScheme:
    """What tells a scheme.json that a search has written from others.

    Attributes:
        stages: bits of each stage.
        returned: which of the search's answers it is.
        supernet_sha256: that it was searched on.
    """

    stages: tuple[str, ...]
    returned: str | None = None
    supernet_sha256: str | None = None


def check_own_scheme(directory: Path) -> None:
    """Refuse to replace a scheme.json that is another search's, edited or damaged, before anything is trained.

    Args:
        directory: of the run.

    Raises:
        EANError: saying which.
    """
    path, supernet = directory / "scheme.json", directory / "supernet.pth"
    if not path.exists():
        return
    try:
        record = read_scheme_file(path)
        own = checked(OwnScheme, record, where=str(path), advice="")
    except EANError:
        raise EANError(f"{path} is damaged, and this search would replace it: move it away, and resume") from None
    answer = record.get(own.returned or "")
    bits = answer.get("bits") if isinstance(answer, Mapping) else None
    if not supernet.exists() or own.supernet_sha256 != sha256_of(supernet):
        reason = "is not of a search on the supernet here"
    elif bits == " | ".join(own.stages):
        return
    else:
        reason = "is not as the search wrote it"
    raise EANError(
        f"{path} {reason}, and this search would replace it: give it another name or folder, and train it with "
        "tools/train_cls.py --scheme"
    )


def search_identity(job: Job, supernet_sha256: str) -> dict[str, Any]:
    """What a search depends on; its directory goes on only with the same."""
    recipe = job.search
    return {
        "part": "search",
        "supernet_sha256": supernet_sha256,
        "data": dict(job.task.dataset().fingerprint),
        "search": {
            **dataclasses.asdict(recipe),
            "latency": None if recipe.latency is None else sha256_of(recipe.latency),  # wherever the file is
        },
        "seed": job.recipe.seed,
        "streams": STREAMS,
    }


def ended_by_earlier_version(job: Job, identity: Mapping[str, Any]) -> bool:
    """Whether the directory holds a search of other random numbers (`STREAMS`) that has ended, to be taken as it is.

    Raises:
        EANError: if it has not ended: replayed with the numbers of now, its record would be replaced from its start.
    """
    claimed, path, final = (job.directory / name for name in ("search/run.json", "history.jsonl", "scheme.json"))
    if not (job.resume and claimed.exists() and path.exists()):
        return False
    earlier = read_claim(claimed)
    if earlier.get("streams") == STREAMS:
        return False
    check_same({**earlier, "streams": STREAMS}, identity, what=f"{claimed.parent} holds a search made with")
    if has_ended(path, final, job.search):
        return True
    raise EANError(
        f"{job.directory} holds an unfinished search by an earlier version, which drew other random numbers: it can be "
        "read but not continued. Give another --work-dir (a copy of supernet.pth in it saves the first part), or end "
        "the search with the version that began it"
    )


def has_ended(history: Path, scheme: Path, recipe: SearchRecipe) -> bool:
    """Whether a search wrote its scheme after its last proposal, and was as long as the recipe asks for."""
    lines = [line for line in read_lines(history) if not line.final]
    if not lines or not scheme.exists() or read_scheme_file(scheme).get("proposals") != len(lines):
        return False
    enough = recipe.max_evaluations is not None and lines[-1].evaluations >= recipe.max_evaluations
    return enough or lines[-1].step >= recipe.steps


def with_method(job: Job, choice: MethodChoice, given: Mapping[str, Any]) -> Job:
    """The job with another search method.

    Args:
        job: whose recipe's options belong to the recipe's own method, and stay if that is named without options.
        choice: the method with its options.
        given: recipe fields that the user gave too; those of `search.options` are the other method's options.
    """
    search, prefix = job.search, "search.options."
    options = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
    options = {**choice.options, **options}
    if choice.method == search.method and not choice.options:
        options = dict(search.options)
    return job.replace_recipe(search=dataclasses.replace(search, method=choice.method, options=options))


class StepText:
    """Moves the progress bar with a step's reward, score and connections, and the best reward so far.

    Args:
        progress: the bar.
        blocks: blocks per stage.
        score: what schemes are scored by.
    """

    def __init__(self, progress: Bar, blocks: Sequence[int], score: Metric) -> None:
        self.progress, self.score, self.count = progress, score, sum(blocks)
        self.best = -float("inf")

    def __call__(self, step: int, lines: Sequence[HistoryLine], *, replayed: bool) -> None:
        """Show the step's last scheme."""
        if replayed:
            self.progress.first = step  # steps read from the history cost no time, and predict none
        last = lines[-1]
        self.best = max(self.best, *(line.reward for line in lines))
        fields = [
            f"best reward {self.best:.2f}",
            f"{last.evaluations:,} scored",
            f"{self.score.name} {last.accuracy:.2f} {self.score.unit}",
            f"{last.connections}/{self.count} connections",
        ]
        self.progress.update(step, *(["from the record"] if replayed else []), *fields)


def write_scheme(path: Path, job: Job, result: SearchResult, returned: str, supernet_sha256: str) -> None:
    """scheme.json: the returned scheme, its provenance, and all answers of the search."""
    recipe = job.search
    answers = {name: getattr(result, name) for name in ANSWERS}
    returned = "best" if answers[returned] is None else returned  # a method without probabilities
    answers[returned].scheme.save(
        path,
        arch=job.recipe.model.arch,
        attention=job.recipe.model.attention,
        attention_options=dict(job.recipe.model.attention_options),
        data=job.task.dataset().name,
        method=recipe.method,
        options=dict(recipe.options),
        seed=job.recipe.seed,
        returned=returned,
        **{name: None if trial is None else describe(trial) for name, trial in answers.items()},
        reward_weights=dataclasses.asdict(recipe.reward),
        max_increment=recipe.max_increment,
        proposals=result.proposals,
        evaluations=result.evaluations,
        supernet_sha256=supernet_sha256,
        recipe=job.recipe.name,
    )


def describe(trial: Trial) -> dict[str, object]:
    """A trial as scheme.json shows it."""
    return {
        "bits": str(trial.scheme),
        "reward": trial.reward,
        "reward_terms": dict(trial.terms),
        "validation_accuracy": trial.accuracy,
        "connections": trial.scheme.connections,
        **({} if trial.increment is None else {"predicted_increment": trial.increment}),
    }


def scheme_of(value: str, blocks: Sequence[int], attention: str | None) -> Scheme:
    """A scheme from bits, a file or a shipped one; it must have been searched for the same attention.

    Raises:
        EANError: for another attention, or as `as_scheme`.
    """
    scheme = as_scheme(value, blocks)
    check_attention(value, attention)
    return scheme
