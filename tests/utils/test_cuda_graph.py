"""Capture without a GPU, with everything of CUDA replaced by nothing: what surrounds the graph."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from unittest.mock import MagicMock

import pytest
import torch

from ean_core.utils.cuda_graph import WARMUP, CaptureFailed, capture, no_garbage_collection


class Cyclic:
    """Garbage that only the collector finds, as a model and its captured step are."""

    def __init__(self, freed: list[str], seen: list[str]) -> None:
        self.itself, self.freed, self.seen = self, freed, seen

    def __del__(self) -> None:
        self.freed.append(self.seen[-1] if self.seen else "before")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """In place of torch.cuda; `phases` says when a capture begins and ends."""
    fake = MagicMock()
    fake.phases = []

    @contextmanager
    def graph(graph, **options):
        fake.options = options
        fake.phases.append("capture")
        try:
            yield
        except RuntimeError:
            raise RuntimeError("the capture was invalidated")  # noqa: B904 (as PyTorch does)
        fake.phases.append("after")

    fake.graph = graph
    monkeypatch.setattr(torch, "cuda", fake)
    return fake


def test_no_garbage_is_collected_during_a_capture(cuda: MagicMock) -> None:
    """Freeing an earlier network's graph breaks the capture that is going on."""
    freed: list[str] = []
    collecting: list[bool] = []

    def work() -> int:
        Cyclic(freed, cuda.phases)  # garbage at once, also during the capture
        collecting.append(gc.isenabled())
        return len(collecting)

    assert gc.isenabled()
    run = capture(work)
    assert collecting == [True] * WARMUP + [False]
    assert gc.isenabled()
    gc.collect()
    assert freed == ["before"] * WARMUP + ["after"]
    assert (run(), run()) == (WARMUP + 1, WARMUP + 1)  # what the captured run gave
    assert cuda.CUDAGraph().replay.call_count == 2
    assert cuda.options == {"capture_error_mode": "thread_local"}


def test_every_run_is_prepared(cuda: MagicMock) -> None:
    calls: list[str] = []
    capture(lambda: calls.append("work"), before=lambda: calls.append("before"))
    assert calls == ["before", "work"] * (WARMUP + 1)


def test_what_cannot_be_captured_gets_a_sentence(cuda: MagicMock) -> None:
    def work() -> None:
        if cuda.phases:
            raise RuntimeError("operation not permitted when stream is capturing\na long story")

    with pytest.raises(CaptureFailed, match=r"captured \(operation not permitted when stream is capturing\)$"):
        capture(work)
    assert gc.isenabled()
    cuda.set_stream.assert_called_once_with(cuda.current_stream())


def test_an_error_of_the_work_itself_stays(cuda: MagicMock) -> None:
    """Running out of memory in an ordinary step has its own advice."""

    def work() -> None:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="^CUDA out of memory$"):
        capture(work)


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    try:
        with no_garbage_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
