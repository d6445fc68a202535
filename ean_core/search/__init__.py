"""Search methods by name. A new one is one file here with a `SearchMethod`, and its entry in `METHODS`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ean_core.search.base import ANSWERS, STREAMS, GradientMethod, SearchMethod, Trial
from ean_core.search.darts import DARTS, DARTSSettings
from ean_core.search.driver import SearchResult, run_search
from ean_core.search.ean import EAN, PRESETS
from ean_core.search.enas import ENAS
from ean_core.search.enas import PRESETS as ENAS_PRESETS
from ean_core.search.genetic import Genetic, GeneticSettings
from ean_core.search.heuristics import HeadK, TailK
from ean_core.search.history import History
from ean_core.search.hsp import HSP
from ean_core.search.natural_gradient import NaturalEAN, NaturalSettings
from ean_core.search.random_search import RandomSearch
from ean_core.search.reward import Reward
from ean_core.utils import checked_dataclasses
from ean_core.utils.errors import unknown_name

Build = Callable[[Sequence[int], int, Reward, Mapping[str, Any]], SearchMethod]


def _ean(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
    """Both algorithms of the search method "ean", told apart by their preset; lambda_3 is the reward's."""
    options = {"curiosity_weight": reward.curiosity, **options}
    preset = options.pop("preset", "paper")
    if preset == "natural":
        return NaturalEAN(blocks, seed=seed, settings=_settings(NaturalSettings(), options, "ean, preset natural"))
    if preset not in PRESETS:
        raise unknown_name("preset of the EAN search", preset, [*PRESETS, "natural"])
    return EAN(blocks, seed=seed, settings=_settings(PRESETS[preset], options, "ean"))


def _enas(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
    """ENAS, whose presets are `enas.PRESETS`."""
    del reward
    options = dict(options)
    preset = options.pop("preset", "published")
    if preset not in ENAS_PRESETS:
        raise unknown_name("preset of the ENAS search", preset, list(ENAS_PRESETS))
    return ENAS(blocks, seed=seed, settings=_settings(ENAS_PRESETS[preset], options, "enas"))


def _darts(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
    """DARTS; its `gradient` must be set before it can search."""
    return DARTS(blocks, seed=seed, settings=_settings(DARTSSettings(), options, "darts"), reward=reward)


def _with_settings(method: Callable[..., SearchMethod], defaults: Any, name: str) -> Build:
    """For a method whose options are the fields of a settings class."""

    def build(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
        del reward
        return method(blocks, seed=seed, settings=_settings(defaults, options, name))

    return build


def _with_arguments(method: Callable[..., SearchMethod], name: str) -> Build:
    """For a method whose options are its own keyword arguments."""
    arguments = checked_dataclasses.arguments_class(method, without=("blocks", "seed"))

    def build(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
        del reward
        _build_options(arguments, options, name)
        return method(blocks, seed=seed, **options)

    return build


METHODS: dict[str, Build] = {
    "ean": _ean,
    "random": _with_arguments(RandomSearch, "random"),
    "hsp": _with_arguments(HSP, "hsp"),
    "head-k": _with_arguments(HeadK, "head-k"),
    "tail-k": _with_arguments(TailK, "tail-k"),
    "genetic": _with_settings(Genetic, GeneticSettings(), "genetic"),
    "enas": _enas,
    "darts": _darts,
}

SHORT = {"ga": "genetic"}
"""What the paper's Table 4 calls a method, for users; `long_name` is applied where they are read."""


def long_name(name: str) -> str:
    """The key of `METHODS` for what a user called a method; an unknown name stays as it is."""
    return SHORT.get(name, name)


def build_method(
    name: str, blocks: Sequence[int], *, seed: int, reward: Reward, options: Mapping[str, Any] | None = None
) -> SearchMethod:
    """A fresh search method.

    Args:
        name: a key of `METHODS`.
        blocks: blocks per stage.
        seed: of everything random in it.
        reward: whose curiosity weight EAN takes, unless its options give another.
        options: of the method, such as `{"preset": "natural"}` or `{"schemes_per_step": 4}` for EAN.

    Raises:
        EANError: for an unknown method or option.
    """
    if name not in METHODS:
        raise unknown_name("search method", name, list(METHODS))
    return METHODS[name](blocks, seed, reward, options or {})


def _settings(defaults: Any, options: Mapping[str, Any], method: str) -> Any:
    values = {field.name: getattr(defaults, field.name) for field in dataclasses.fields(defaults)}
    return _build_options(type(defaults), {**values, **options}, method)


def _build_options(cls: type, options: Mapping[str, Any], method: str) -> Any:
    return checked_dataclasses.build(cls, options, where=f"the options of search method {method!r}", what="option")


__all__ = [
    "ANSWERS",
    "METHODS",
    "STREAMS",
    "GradientMethod",
    "History",
    "Reward",
    "SearchMethod",
    "SearchResult",
    "Trial",
    "build_method",
    "long_name",
    "run_search",
]
