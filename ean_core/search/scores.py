"""Scores that several searches share, in a file: no scheme is scored twice, and a kill loses a few scores at most."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from ean_core.scheme import Scheme
from ean_core.search.driver import Evaluate
from ean_core.search.history import History, HistoryLine
from ean_core.utils.errors import EANError

CHUNK = 8
"""Schemes scored between two writes; with several processes they are divided among them."""

MOST = 16
"""Blocks up to which all schemes can be scored: 65,536 of them."""


class SharedScores:
    """An `Evaluate` with a memory that outlives the process.

    Args:
        history: the lines of the file, one per scheme.
        evaluate: scores schemes.
    """

    def __init__(self, history: History, evaluate: Evaluate) -> None:
        self.history, self.evaluate = history, evaluate
        self.known = {line.bits: float(line.accuracy) for line in history.lines}

    def __call__(
        self, schemes: Sequence[Scheme], *, on_chunk: Callable[[int], None] = lambda done: None
    ) -> list[float]:
        """Accuracies in percent, in the schemes' order.

        Args:
            schemes: any, known or not, and also several times.
            on_chunk: hears how many of the unknown ones were scored.
        """
        unseen = list({one.text: one for one in schemes if one.text not in self.known}.values())
        for start in range(0, len(unseen), CHUNK):
            chunk = unseen[start : start + CHUNK]
            self.learn(zip((one.text for one in chunk), self.evaluate(chunk), strict=True))
            on_chunk(start + len(chunk))
        return [self.known[one.text] for one in schemes]

    def learn(self, pairs: Iterable[tuple[str, float]]) -> None:
        """Remember the scores of bits, those that are new."""
        lines: list[HistoryLine] = []
        for bits, accuracy in pairs:
            if bits not in self.known:
                self.known[bits] = float(accuracy)
                lines.append(HistoryLine(len(self.known), bits, float(accuracy)))
        if lines:
            self.history.append(lines)


def all_schemes(blocks: Sequence[int]) -> list[Scheme]:
    """All 2^m schemes of a network, from all off to all on.

    Raises:
        EANError: if there are too many to score.
    """
    m = sum(blocks)
    if m > MOST:
        raise EANError(
            f"the network has {m} blocks and 2^{m} schemes, too many to score them all: leave --exhaustive out, or "
            f"take a network of at most {MOST} blocks"
        )
    return [Scheme(bits, tuple(blocks)) for bits in itertools.product((0, 1), repeat=m)]
