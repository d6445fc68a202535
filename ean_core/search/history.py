"""history.jsonl, one line per proposal: the record of a search, and all the state that resuming needs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ean_core.io.json_file import parse_json, read_text
from ean_core.io.to_json import to_json
from ean_core.utils.checked_dataclasses import Count, checked
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic


@dataclass(frozen=True)
class HistoryLine:
    """A proposal of a search, as a line of history.jsonl; the scores of a comparison have the first three fields only.

    Attributes:
        step: from 1 on.
        bits: of the scheme.
        accuracy: validation accuracy in percent.
        reward: sum of the terms that rank schemes, without a method's own bonus.
        terms: name -> weighted term of the reward, including the bonus.
        connections: of the scheme.
        new: whether the scheme was proposed for the first time.
        evaluations: different schemes proposed so far.
        increment: predicted percent of Org's time; None without a latency table.
        p: (m,) probabilities that the scheme was drawn from; None for methods without.
        p_mean: mean probability of the scheme's bits (Fig. 5); None for methods without.
        seconds: the step's duration divided by its number of proposals; None for the final line.
        final: whether it is the method's most probable scheme at the end, which was not proposed.
        run: key of the run that wrote it; None in files of earlier versions.
    """

    step: Count
    bits: str
    accuracy: float
    reward: float | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    connections: Count = 0
    new: bool = True
    evaluations: Count = 0
    increment: float | None = None
    p: tuple[float, ...] | None = None
    p_mean: float | None = None
    seconds: float | None = None
    final: bool = False
    run: str | None = None

    def to_json(self) -> str:
        """The line without its newline; fields that are None are left out."""
        if self.reward is None:
            run = {} if self.run is None else {"run": self.run}
            return json.dumps({"step": self.step, "bits": self.bits, "accuracy": self.accuracy, **run})
        content = {name: value for name, value in asdict(self).items() if value is not None}
        if not self.final:
            del content["final"]
        return to_json(content, what="a line of the history")


class History:
    """The lines of a search, on disk and in memory.

    A killed process can leave a truncated last line or an incomplete step; both are dropped when the file is opened
    again, since the search repeats that step (without scoring its schemes again).

    Args:
        path: the file, or None to keep the lines in memory only (processes other than the first).
        run: key of the run, which new lines get.
    """

    def __init__(self, path: Path | None, *, run: str | None = None) -> None:
        self.path, self.run = path, run
        self.lines: list[HistoryLine] = []

    @classmethod
    def open(cls, path: Path, *, resume: bool, run: str | None = None) -> History:
        """Start a file, or read what an interrupted search left.

        Raises:
            EANError: if the file exists and `resume` is false, or a line other than the last cannot be read.
        """
        history = cls(path, run=run)
        if path.exists():
            if not resume:
                raise EANError(f"{path} holds an earlier search: continue it with --resume, or give another --work-dir")
            history.lines = read_lines(path)
            if not path.read_bytes().endswith(b"\n"):
                history.truncate(len(history.lines))  # or the next line would be appended to a truncated one
        return history

    @classmethod
    def follow(cls, path: Path) -> History:
        """The lines of a file, for a process that must not write to it."""
        history = cls(None)
        history.lines = read_lines(path) if path.exists() else []
        return history

    def append(self, lines: Sequence[HistoryLine]) -> None:
        """Append a step's lines, and flush them to disk before the search continues."""
        begun, lines = bool(self.lines), [replace(line, run=self.run) for line in lines]
        self.lines.extend(lines)
        if self.path is None:
            return
        if begun and not self.path.exists():
            raise EANError(f"{self.path} was removed while the search was writing it: start the search again")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(line.to_json() + "\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())

    def start_again(self, *, steps: int) -> list[HistoryLine]:
        """Clear the lines for a replay, and return the recorded ones without the final scheme's line.

        That line is removed from the file too, since a search that continues adds further steps there.

        Raises:
            EANError: if the record has more than `steps` steps, none of which may be lost.
        """
        recorded = [line for line in self.lines if not line.final]
        if recorded and recorded[-1].step > steps:
            raise EANError(
                f"the recorded search has {recorded[-1].step} steps, but {steps} were requested: request at least as "
                "many, or choose another --work-dir"
            )
        if len(recorded) < len(self.lines):
            self.truncate(len(recorded))
        self.lines = []
        return recorded

    def truncate(self, count: int) -> None:
        """Keep only the first `count` lines, in memory and in the file."""
        self.lines = self.lines[:count]
        if self.path is not None:
            write_atomic(self.path, "".join(line.to_json() + "\n" for line in self.lines))


def read_lines(path: Path) -> list[HistoryLine]:
    """The complete lines of a history file; a truncated last line is left out.

    Raises:
        EANError: if the file is missing, or a line before the last is damaged.
    """
    rows = read_text(path, what="history", advice="give the work directory of a search").split("\n")
    advice = "remove this line and those after it, then resume"
    lines = []
    for number, row in enumerate(rows[:-1], start=1):  # what follows the last newline is empty or truncated
        where = f"{path}, line {number},"
        line = checked(HistoryLine, parse_json(row, where=where, advice=advice), where=where, advice=advice)
        if not line.bits or set(line.bits) - {"0", "1"}:
            raise EANError(f"{where} is damaged (its bits are {line.bits[:40]!r}): {advice}")
        lines.append(line)
    return lines
