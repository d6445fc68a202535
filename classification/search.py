"""Second part of the pipeline: search a scheme on the trained supernet (Algorithm 1, lines 6 to 22)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device

from classification.gradient import connect_gradient
from classification.job import Job
from classification.latency import Rules
from classification.recipe import SearchRecipe
from classification.supernet import both_sections, make_scorer
from ean_core.networks import StagedNetwork
from ean_core.networks.checkpoint import load_network
from ean_core.scheme import Scheme, as_scheme, read_scheme_file
from ean_core.search import ANSWERS, STREAMS, History, SearchResult, Trial, long_name, run_search
from ean_core.search.history import Line, read_lines
from ean_core.search.latency_limit import Limited
from ean_core.search.pareto import write_front
from ean_core.training.run_lock import check_same, claim, read_claim
from ean_core.utils.distributed import barrier, first_does, is_first
from ean_core.utils.errors import EANError, batch_of
from ean_core.utils.files import sha256_of
from ean_core.utils.progress import Bar, bar


def search_scheme(job: Job, supernet: Path) -> Path:
    """Search, or go on with a search, and write history.jsonl, scheme.json and search.png.

    Args:
        job: the run.
        supernet: file that `train_supernet` wrote.

    Returns:
        scheme.json.
    """
    _, recipe = both_sections(job)
    network, rules, identity = load_supernet(job, supernet), Rules.of(job), search_identity(job, supernet)
    scorer = make_scorer(job, network)
    method = rules.build(recipe.method, recipe.options, seed=job.recipe.seed)
    connect_gradient(method, job, network, seed=job.recipe.seed)
    method = rules.keep(method)
    path, final = job.directory / "history.jsonl", job.directory / "scheme.json"
    if ended_by_earlier_version(job, identity):
        return final
    claim(job.directory / "search", identity, resume=job.resume, begun=[path], work_dir=job.work_dir())
    history = History.open(path, resume=job.resume) if is_first() else History.follow(path)
    barrier()
    memory = batch_of(recipe.batch_size, option="--cfg-options search.batch_size")
    with memory, bar("search", recipe.steps, show=is_first()) as progress:
        result = run_search(
            method,
            lambda schemes: [score.accuracy for score in scorer(schemes)],
            steps=recipe.steps,
            reward=rules.reward,
            history=history,
            max_evaluations=recipe.max_evaluations,
            on_step=None if progress is None else StepText(progress, rules.blocks),
        )
    returned = recipe.returned or method.answer
    first_does(lambda: write_scheme(final, job, result, returned, identity["supernet_sha256"]))
    first_does(lambda: draw(job.directory, history.lines, final))
    first_does(lambda: write_front(job.directory, history.lines))
    if isinstance(method, Limited) and is_first():
        print(method.account(scored=result.evaluations, proposals=result.proposals))
    return final


def search_identity(job: Job, supernet: Path) -> dict[str, Any]:
    """What a search depends on: the same directory goes on with no other."""
    _, recipe = both_sections(job)
    return {
        "part": "search",
        "supernet_sha256": sha256_of(supernet),
        "data": job.data_identity(),
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
    if has_ended(path, final, both_sections(job)[1]):
        return True
    raise EANError(
        f"{job.directory} holds an unfinished search by an earlier version, which drew other random numbers: it can be "
        "read, and not continued. Give another --work-dir (a copy of supernet.pth in it saves the first part), or end "
        "the search with the version that began it"
    )


def has_ended(history: Path, scheme: Path, recipe: SearchRecipe) -> bool:
    """Whether a search wrote its scheme after its last proposal, and was as long as the recipe asks for."""
    lines = [line for line in read_lines(history) if not line.get("final")]
    if not lines or not scheme.exists() or read_scheme_file(scheme).get("proposals") != len(lines):
        return False
    enough = recipe.max_evaluations is not None and lines[-1]["evaluations"] >= recipe.max_evaluations
    return enough or lines[-1]["step"] >= recipe.steps


def with_method(job: Job, name: str, given: Mapping[str, Any]) -> Job:
    """The job with another search method.

    Args:
        job: whose recipe's options belong to the recipe's own method.
        name: of the method, as a user may write it.
        given: recipe fields that were given beside it; those of `search.options` are the other method's options.
    """
    (_, search), name = both_sections(job), long_name(name)
    prefix = "search.options."
    options = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
    options = search.options if name == search.method else options
    search = dataclasses.replace(search, method=name, options=options)
    return dataclasses.replace(job, recipe=job.recipe.replace(search=search))


def load_supernet(job: Job, supernet: Path) -> StagedNetwork:
    """The trained supernet on the device, in the recipe's memory format.

    Raises:
        EANError: if the file holds another network than the recipe's.
    """
    network, content = load_network(supernet)
    if content["model"] != dataclasses.asdict(job.spec()):
        found = f"{content['model']['arch']} with {content['model']['attention']}"
        raise EANError(
            f"{supernet} holds a {found}, made for other data or options than recipe {job.recipe.name!r} "
            f"({job.recipe.model.arch} with {job.recipe.model.attention}): give another --work-dir"
        )
    settings, _ = both_sections(job)
    network = network.to(get_device())
    return network.to(memory_format=torch.channels_last) if settings.channels_last else network


class StepText:
    """Moves the progress bar with a step's reward, accuracy and connections, and the best so far."""

    def __init__(self, progress: Bar, blocks: Sequence[int]) -> None:
        self.progress, self.best, self.count = progress, -float("inf"), sum(blocks)

    def __call__(self, step: int, lines: Sequence[Line], *, replayed: bool) -> None:
        """Show the step's last scheme."""
        if replayed:
            self.progress.first = step  # what the record gives costs no time, and foretells none
        line = lines[-1]
        self.best = max(self.best, *(one["reward"] for one in lines))
        text = (
            f"reward {line['reward']:.2f} (best {self.best:.2f})  accuracy {line['accuracy']:.2f} %  "
            f"connections {line['connections']}/{self.count}  schemes scored {line['evaluations']}"
        )
        self.progress.update(step, text + ("  from the record" if replayed else ""))


def write_scheme(path: Path, job: Job, result: SearchResult, returned: str, supernet_sha256: str) -> None:
    """scheme.json: the returned scheme, where it is from, and all answers beside it."""
    _, recipe = both_sections(job)
    answers = {name: getattr(result, name) for name in ANSWERS}
    returned = "best" if answers[returned] is None else returned  # a method without probabilities
    answers[returned].scheme.save(
        path,
        arch=job.recipe.model.arch,
        attention=job.recipe.model.attention,
        attention_options=dict(job.recipe.model.attention_options),
        data=job.data.name,
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


def draw(directory: Path, lines: Sequence[Line], scheme: Path) -> None:
    """search.png from the history and the scheme."""
    from ean_core.report.plots import draw_search  # matplotlib takes a second to import

    draw_search(directory / "search.png", lines, Scheme.load(scheme))


def scheme_of(value: str, blocks: Sequence[int], attention: str | None) -> Scheme:
    """A scheme from bits or a file; a file must have been searched for the same attention.

    Raises:
        EANError: for another attention, or as `as_scheme`.
    """
    scheme = as_scheme(value, blocks)
    if value.endswith(".json"):
        found = read_scheme_file(value).get("attention")
        if found is not None and found != attention:
            raise EANError(
                f"{value} was found for attention {found!r}, and the network has {attention!r}: give --attention "
                f"{found}, or the bits themselves to use it all the same"
            )
    return scheme
