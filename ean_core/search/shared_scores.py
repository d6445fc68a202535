"""Scores shared by several searches, in a file: no scheme is scored twice, and a kill loses at most `CHUNK` scores."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from ean_core.scheme import Scheme
from ean_core.search.driver import Evaluate
from ean_core.search.history import History, HistoryLine
from ean_core.utils.errors import EANError

CHUNK = 8
"""Schemes scored between two writes; several processes divide them."""

MAX_BLOCKS = 16
"""Largest number of blocks for which all schemes can be scored: 65,536 of them."""


class SharedScores:
    """An `Evaluate` that remembers its scores in a file.

    Args:
        history: the lines of the file, one per scheme.
        evaluate: scores schemes that the file does not hold.
    """

    def __init__(self, history: History, evaluate: Evaluate) -> None:
        self.history, self.evaluate = history, evaluate
        self.accuracies = {line.bits: float(line.accuracy) for line in history.lines}

    def __call__(
        self, schemes: Sequence[Scheme], *, on_chunk: Callable[[int], None] = lambda done: None
    ) -> list[float]:
        """Validation accuracies in percent, in the order of the schemes.

        Args:
            schemes: scored before or not; repetitions are allowed.
            on_chunk: called with the number of new schemes scored so far.
        """
        new = list({scheme.text: scheme for scheme in schemes if scheme.text not in self.accuracies}.values())
        for start in range(0, len(new), CHUNK):
            chunk = new[start : start + CHUNK]
            self.add(zip((scheme.text for scheme in chunk), self.evaluate(chunk), strict=True))
            on_chunk(start + len(chunk))
        return [self.accuracies[scheme.text] for scheme in schemes]

    def add(self, pairs: Iterable[tuple[str, float]]) -> None:
        """Add (bits, accuracy) pairs that are not in the file yet."""
        lines: list[HistoryLine] = []
        for bits, accuracy in pairs:
            if bits not in self.accuracies:
                self.accuracies[bits] = float(accuracy)
                lines.append(HistoryLine(len(self.accuracies), bits, float(accuracy)))
        if lines:
            self.history.append(lines)


def all_schemes(blocks: Sequence[int]) -> list[Scheme]:
    """All 2^m schemes of a network, from Org to Share-full.

    Raises:
        EANError: if there are too many to score.
    """
    m = sum(blocks)
    if m > MAX_BLOCKS:
        raise EANError(
            f"the network has {m} blocks and 2^{m} schemes, too many to score them all: drop --exhaustive, or "
            f"use a network of at most {MAX_BLOCKS} blocks"
        )
    return [Scheme(bits, tuple(blocks)) for bits in itertools.product((0, 1), repeat=m)]
