"""Search methods by name. A new one is one file here with a `SearchMethod`, and its entry in `METHODS`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ean_core.errors import unknown_name
from ean_core.search.base import SearchMethod, Trial
from ean_core.search.driver import SearchResult, run_search
from ean_core.search.ean import EAN, PRESETS, EANSettings
from ean_core.search.history import History
from ean_core.search.random import RandomSearch
from ean_core.search.reward import Reward


def _ean(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
    options = dict(options)
    preset = options.pop("preset", "paper")
    if preset not in PRESETS:
        raise unknown_name("preset of the EAN search", preset, list(PRESETS))
    _check(options, [field.name for field in dataclasses.fields(EANSettings)], "ean")
    settings = dataclasses.replace(PRESETS[preset], **{"curiosity_weight": reward.curiosity, **options})
    return EAN(blocks, seed=seed, settings=settings)


def _random(blocks: Sequence[int], seed: int, reward: Reward, options: Mapping[str, Any]) -> SearchMethod:
    del reward
    _check(options, ["schemes_per_step"], "random")
    return RandomSearch(blocks, seed=seed, **options)


METHODS: dict[str, Callable[[Sequence[int], int, Reward, Mapping[str, Any]], SearchMethod]] = {
    "ean": _ean,
    "random": _random,
}


def build_method(
    name: str, blocks: Sequence[int], *, seed: int, reward: Reward, options: Mapping[str, Any] | None = None
) -> SearchMethod:
    """A fresh search method.

    Args:
        name: a key of `METHODS`.
        blocks: blocks per stage.
        seed: of everything random in it.
        reward: whose curiosity weight EAN takes.
        options: of the method, such as `{"preset": "released"}` or `{"schemes_per_step": 4}` for EAN.

    Raises:
        EANError: for an unknown method or option.
    """
    if name not in METHODS:
        raise unknown_name("search method", name, list(METHODS))
    return METHODS[name](blocks, seed, reward, options or {})


def _check(options: Mapping[str, Any], known: list[str], method: str) -> None:
    for key in options:
        if key not in known:
            raise unknown_name(f"option of search method {method!r}", key, known)


__all__ = ["METHODS", "History", "Reward", "SearchMethod", "SearchResult", "Trial", "build_method", "run_search"]
