"""What a scorer holds on to between schemes: two schemes that agree on the first stages agree on what those give."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from ean_core.networks import StagedNetwork

Batch = Mapping[str, Tensor]
"""`{"inputs": uint8 (B, C, H, W), "labels": (B,)}`, on the network's device."""

Bits = tuple[tuple[int, ...], ...]
"""Bits of the first stages, stage by stage."""


class Batches(Protocol):
    """What gives the same batches whenever it is iterated over: a loader of `ean_core.data`, or a list."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...


class HeldBatches:
    """Batches that are read and decoded once, as long as they fit.

    Args:
        source: where they come from.
        room: bytes that may be held; a larger source is gone through every time.

    Attributes:
        nbytes: that the held batches take; while they are collected, what the first of them foretells.
    """

    def __init__(self, source: Batches, room: int) -> None:
        self.source, self.room = source, room
        self.held: list[Batch] | None = None
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        if self.held is not None:
            yield from self.held
            return
        seen: list[Batch] = []
        left = self.room
        for number, batch in enumerate(self.source):
            left -= sum(one.nbytes for one in batch.values())
            if number == 0:
                expected = (self.room - left) * len(self.source)
                self.nbytes = expected if expected <= self.room else 0
            if left >= 0:
                seen.append(batch)
            else:
                seen.clear()
            yield batch
        self.held, self.nbytes = (seen, self.room - left) if left >= 0 else (None, 0)


class PrefixFeatures:
    """What the stages before the last one give for every validation batch, by the bits that lead there.

    A recurrent attention starts anew in each stage, so nothing but the features passes from one stage to the next.

    Args:
        room: bytes that may be held, together with what is held beside them; the bits that were not used for the
            longest time are let go first.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.held: OrderedDict[Bits, list[Tensor]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes in use."""
        return sum(one.nbytes for features in self.held.values() for one in features)

    def longest(self, bits: Bits) -> Bits:
        """The longest prefix of a scheme's bits that is held, () if none is; it counts as used now."""
        for count in range(len(bits) - 1, 0, -1):
            if bits[:count] in self.held:
                self.held.move_to_end(bits[:count])
                return bits[:count]
        return ()

    def reserve(self, nbytes: int, *, beside: int = 0) -> bool:
        """Let go what is in the way of so many bytes more, with `beside` bytes held elsewhere; whether they fit."""
        room = self.room - beside
        if nbytes > room:
            return False
        while self.nbytes + nbytes > room:
            self.held.popitem(last=False)
        return True

    def run(
        self,
        network: StagedNetwork,
        batches: Iterable[Batch],
        stem: Callable[[Batch], Tensor],
        *,
        count: int,
        beside: Callable[[], int],
    ) -> Iterator[tuple[Tensor, Batch]]:
        """The last stage's features of every batch, for the scheme that is set, from what is held for its first bits.

        What the stages before the last one give is held in turn, if it fits.

        Args:
            network: its stages are run.
            batches: the same ones every time.
            stem: what the first stage takes of a batch.
            count: of the batches.
            beside: bytes that are held elsewhere, asked for after the first batch.
        """
        bits = network.scheme.stages
        begun = self.longest(bits)
        known, new, keep = self.held.get(begun, []), {}, True
        for number, batch in enumerate(batches):
            x = known[number] if known else stem(batch)
            for stages, stage in enumerate(network.stages[len(begun) :], start=len(begun) + 1):
                x = stage(x)
                if keep and stages < len(bits):
                    new.setdefault(bits[:stages], []).append(x)
            if number == 0:
                keep = self.reserve(sum(features[0].nbytes for features in new.values()) * count, beside=beside())
                new = new if keep else {}
            yield x, batch
        self.held.update(new)


def spare_memory(device: torch.device) -> int:
    """Bytes that may be held without being missed: half of what a GPU has free, a quarter of what a computer has.

    The processes on one computer share it; a container's limit counts.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    try:
        with open("/sys/fs/cgroup/memory.max") as limit, open("/sys/fs/cgroup/memory.current") as used:
            free = min(free, int(limit.read()) - int(used.read()))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(free, 0) // 4 // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
