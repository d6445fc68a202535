"""Which schemes a study trains: spread over the numbers of connections, random ones, and those beside a searched one.

Figure 4 of Efficient Attention Network (https://arxiv.org/abs/2011.14058) shows random and searched schemes, each
trained from scratch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import comb

import numpy as np

from ean_core.scheme import Scheme
from ean_core.search.heuristics import HeadK, TailK
from ean_core.search.hsp import PERIODS
from ean_core.utils.errors import EANError
from ean_core.utils.intervals import FEWEST_PAIRS

SPREAD, RANDOM, SEARCHED, SAME_SIZE = "spread", "random", "searched", "random, same size"
TAIL, HEAD, HSP = "last blocks", "first blocks", "every N-th block"

Groups = Mapping[str, Sequence[Scheme]]
"""Name of a group -> its schemes."""


def choose_schemes(
    blocks: Sequence[int],
    *,
    spread: int = 0,
    random: int = 0,
    searched: Sequence[Scheme] = (),
    same_size: int = 0,
    seed: int = 0,
) -> dict[str, tuple[Scheme, ...]]:
    """The groups of a study; of larger numbers the first schemes are those of smaller ones.

    Args:
        blocks: blocks per stage.
        spread: how many of `draw_schemes`.
        random: how many of `draw_random`.
        searched: what a search found; each is joined by what has as many connections: `same_size` random ones, the
            last and the first blocks, and the periodic scheme (HSP) whose number of connections is nearest.
        same_size: see there.
        seed: of all the draws.

    Raises:
        EANError: if there are not so many schemes, or none was asked for.
    """
    groups: dict[str, list[Scheme]] = {}
    if spread:
        groups[SPREAD] = draw_schemes(blocks, spread, seed=seed)
    if random:
        groups[RANDOM] = draw_random(blocks, random, seed=seed)
    if searched:
        groups[SEARCHED] = list(searched)
    for scheme in {one.connections: one for one in searched}.values():
        k, others = scheme.connections, [one for one in searched if one.connections == scheme.connections]
        groups.setdefault(SAME_SIZE, []).extend(draw_same_size(blocks, k, same_size, without=others, seed=seed))
        groups.setdefault(TAIL, []).extend(TailK(blocks, k=k).schemes)
        groups.setdefault(HEAD, []).extend(HeadK(blocks, k=k).schemes)
        groups.setdefault(HSP, []).append(nearest_periodic(blocks, k))
    if not groups:
        raise EANError("the study has no schemes: give --schemes, --random or --searched")
    return {name: tuple(schemes) for name, schemes in groups.items() if schemes}


def draw_schemes(blocks: Sequence[int], count: int, *, seed: int) -> list[Scheme]:
    """Different schemes whose numbers of connections are spread evenly: all on, all off, then the rest.

    Independent fair bits would nearly all have about m / 2 connections, and say little of the range. Of a longer draw
    the first schemes are those of a shorter one, so that a study can be extended.

    Args:
        blocks: blocks per stage.
        count: how many, 2 to 2^m.
        seed: of the bits.

    Raises:
        EANError: if there are not so many.
    """
    m = sum(blocks)
    if not FEWEST_PAIRS <= count <= 2**m:
        raise EANError(f"a study needs {FEWEST_PAIRS} to {2**m} schemes for a network of {m} blocks, got {count}")
    rng = np.random.default_rng(seed)
    drawn = {scheme.text: scheme for scheme in (Scheme.all_on(blocks), Scheme.all_off(blocks))}
    for connections in _spread(m - 1):
        if len(drawn) == count:
            break
        for _ in range(50):  # all schemes of a number with few may be drawn already; another number comes next
            scheme = Scheme.random_of_size(blocks, connections, rng)
            if scheme.text not in drawn:
                drawn[scheme.text] = scheme
                break
    return list(drawn.values())


def _spread(top: int) -> Iterator[int]:
    """1 to `top` for ever, every part of the sequence spread over the range (van der Corput's sequence in base 2)."""
    index = 0
    while True:
        index += 1
        digits = f"{index:b}"[::-1]
        yield 1 + int(top * sum(int(bit) / 2 ** (position + 1) for position, bit in enumerate(digits)))


def draw_random(blocks: Sequence[int], count: int, *, seed: int) -> list[Scheme]:
    """Different schemes of independent fair bits (Algorithm 1, line 3): of a repeated draw the first one counts.

    Raises:
        EANError: if there are not so many.
    """
    m = sum(blocks)
    if count > 2**m:
        raise EANError(
            f"a network of {m} blocks has {2**m} schemes, but {count} random ones were asked for: give fewer"
        )
    rng, drawn = np.random.default_rng([seed, 1]), dict[str, Scheme]()
    while len(drawn) < count:
        scheme = Scheme.random(blocks, rng)
        drawn.setdefault(scheme.text, scheme)
    return list(drawn.values())


def draw_same_size(
    blocks: Sequence[int], connections: int, count: int, *, without: Sequence[Scheme], seed: int
) -> list[Scheme]:
    """Different schemes with a number of connections, all equally probable.

    Args:
        blocks: blocks per stage.
        connections: of each scheme.
        count: how many.
        without: schemes of this size that are not to be drawn.
        seed: of the draw.

    Raises:
        EANError: if there are not so many.
    """
    m, left_out = sum(blocks), {scheme.text for scheme in without}
    if count > (most := comb(m, connections) - len(left_out)):
        raise EANError(
            f"only {most} other schemes of {m} blocks have {connections} connections, and {count} were asked for: give "
            "a smaller --same-size"
        )
    rng, drawn = np.random.default_rng([seed, 2, connections]), dict[str, Scheme]()
    while len(drawn) < count:
        scheme = Scheme.random_of_size(blocks, connections, rng)
        if scheme.text not in left_out:
            drawn.setdefault(scheme.text, scheme)
    return list(drawn.values())


def nearest_periodic(blocks: Sequence[int], connections: int) -> Scheme:
    """The periodic scheme (HSP, Table 4) whose number of connections is nearest; the shorter period of two."""
    periods = [period for period in PERIODS if period <= sum(blocks)] or [1]
    family = [
        Scheme.periodic(blocks, period=period, offset=offset)
        for period, offset in product(periods, range(max(periods)))
        if offset < period
    ]
    return min(family, key=lambda scheme: abs(scheme.connections - connections))
