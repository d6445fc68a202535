"""Search methods by name. A new one is one file here with a `SearchMethod`, and its entry in `METHODS`.

A user's own is a class in a file outside the project, which `load_method` imports.
"""

from __future__ import annotations

import dataclasses
import inspect
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
from ean_core.utils.errors import EANError, first_line, unknown_name
from ean_core.utils.own_code import load_class

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
        try:
            return method(blocks, seed=seed, **options)
        except (TypeError, ValueError) as error:
            if isinstance(error, EANError) or name not in _OWN:
                raise
            given = f" with {dict(options)}" if options else ""
            raise EANError(
                f"search method {name} cannot be built{given} ({first_line(error)}): its class takes blocks, seed and "
                "the options as keywords"
            ) from error

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


def load_method(reference: str) -> str:
    """Import a search method of the user's own and add it to `METHODS`. This runs the code of that file.

    The class is built as `Class(blocks, seed=seed, **options)`.

    Args:
        reference: `path/to/file.py:Class` or `my_module:Class`.

    Returns:
        its name in `METHODS` and in records: the reference without the file's folder.

    Raises:
        EANError: if there is no such file or class, importing it fails, or it is not a `SearchMethod`.
    """
    if ":" not in reference:
        raise EANError(f"{reference} names no class: give {reference}:CLASS")
    name, cls = load_class(reference, SearchMethod, kind="search method", example="ean or random")
    if not (inspect.isclass(cls) and issubclass(cls, SearchMethod)):
        raise EANError(f"{reference} is not a search method: give a class derived from ean_core.search.SearchMethod")
    if inspect.isabstract(cls):
        missing = " and ".join(sorted(cls.__abstractmethods__))
        raise EANError(f"{reference} lacks {missing}: a search method defines propose and update")
    known = _OWN.setdefault(name, cls)
    if known is not cls:
        raise EANError(f"search method {name!r} is loaded already, from another folder: give one of the files")
    METHODS[name] = _with_arguments(cls, name)
    return name


_OWN: dict[str, type[SearchMethod]] = {}

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
    "load_method",
    "long_name",
    "run_search",
]
