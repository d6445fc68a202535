"""The results of all networks that trimming has evaluated, kept in a file, so that an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ean_core.pipeline.retrain import pack_results, unpack_results
from ean_core.training.run_key import check_keys
from ean_core.utils.checked_dataclasses import WrongValueError
from ean_core.utils.errors import EANError
from ean_core.utils.files import write_atomic


class Evaluations:
    """Evaluates every network once: which one it is follows from its name, since all else is fixed.

    Args:
        path: a .jsonl file, read if it exists and appended to.
        run: key of the run, which each line gets; None for none.
        evaluate: a network and a part -> the images' results, see `TrimTask.results`.
        after: called after each new evaluation.

    Raises:
        EANError: if the file is damaged or another run's; a last line that was cut off does not count.
    """

    def __init__(
        self,
        path: Path,
        evaluate: Callable[[nn.Module, str], np.ndarray],
        *,
        run: str | None = None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.evaluate, self.run, self.after = path, evaluate, run, after
        self.known: dict[tuple[str, str], np.ndarray] = {}
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        for number, line in enumerate(whole, start=1):
            try:
                entry = json.loads(line)
                self.known[entry["part"], entry["network"]] = _unpack(entry["results"])
                key = entry.get("run")
            except (WrongValueError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                raise EANError(
                    f"{path} is damaged in line {number} ({type(error).__name__}): remove the file, and what it held "
                    "is measured again"
                ) from None
            check_keys([key], run, file=path)
        if len(whole) < len(lines):
            write_atomic(path, "".join(whole))

    def results(self, network: nn.Module | Callable[[], nn.Module], *, name: str, part: str) -> np.ndarray:
        """The results of a network, or of the one that a function makes, on a part of the images."""
        key = part, name
        if key not in self.known:
            made = network if isinstance(network, nn.Module) else network()
            results = self.evaluate(made, part)
            entry = {"part": part, "network": name, "results": _pack(results), "run": self.run}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            self.known[key] = results
            self.after()
        return self.known[key]


def _pack(results: np.ndarray) -> Any:
    return results.tolist() if results.ndim > 1 else pack_results(results)


def _unpack(packed: Any) -> np.ndarray:
    if isinstance(packed, list) and packed and isinstance(packed[0], list):
        return np.asarray(packed, dtype=np.int64)
    results = unpack_results(packed)
    if results is None or not np.isfinite(results).all():
        raise ValueError("no results")
    return results
