"""Caches of a scorer: schemes that agree on the first stages share the outputs of those stages."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from ean_core.networks import StagedNetwork
from ean_core.networks.backbone_wrapper import BackboneWrapper
from ean_core.supernet.path_metric import Batch

Bits = tuple[tuple[int, ...], ...]
"""Bits of the first stages, stage by stage."""


class Batches(Protocol):
    """An iterable that yields the same batches every time: a loader of `ean_core.data`, or a list."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __len__(self) -> int: ...


class CachedBatches:
    """Batches that are read and decoded once if they fit in memory.

    Args:
        source: the batches.
        max_bytes: a larger source is not cached but iterated over every time.

    Attributes:
        nbytes: size of the cached batches; during the first pass, an estimate from the first batch.
    """

    def __init__(self, source: Batches, max_bytes: int) -> None:
        self.source, self.max_bytes = source, max_bytes
        self.cached: list[Batch] | None = None
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Batch]:
        if self.cached is not None:
            yield from self.cached
            return
        batches: list[Batch] = []
        remaining = self.max_bytes
        for number, batch in enumerate(self.source):
            remaining -= sum(tensor.nbytes for tensor in batch.values())
            if number == 0:
                expected = (self.max_bytes - remaining) * len(self.source)
                self.nbytes = expected if expected <= self.max_bytes else 0
            if remaining >= 0:
                batches.append(batch)
            else:
                batches.clear()
            yield batch
        self.cached, self.nbytes = (batches, self.max_bytes - remaining) if remaining >= 0 else (None, 0)


class PrefixCache:
    """Outputs of all stages but the last for every validation batch, keyed by scheme prefix.

    Recurrent attention restarts in each stage, so only features pass from one stage to the next.

    Args:
        max_bytes: limit on the cache and the reserved bytes together; the least recently used prefixes are evicted.
        every_stage: whether what follows the stages needs the outputs of all of them; otherwise only the last one's.
    """

    def __init__(self, max_bytes: int, *, every_stage: bool = False) -> None:
        self.max_bytes, self.every_stage = max_bytes, every_stage
        self.cached: OrderedDict[Bits, list[Tensor]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Size of all cached features in bytes."""
        return sum(tensor.nbytes for features in self.cached.values() for tensor in features)

    def longest(self, bits: Bits) -> Bits:
        """The longest cached prefix of a scheme's bits, () if there is none; marks it as recently used.

        With `every_stage`, all shorter prefixes must be cached too; they are marked as more recently used than it.
        """
        for count in range(len(bits) - 1, 0, -1):
            needed = [bits[:length] for length in range(count, 0 if self.every_stage else count - 1, -1)]
            if all(prefix in self.cached for prefix in needed):
                for prefix in needed:
                    self.cached.move_to_end(prefix)
                return bits[:count]
        return ()

    def reserve(self, nbytes: int, *, reserved_bytes: int = 0) -> bool:
        """Evict entries until `nbytes` more fit beside `reserved_bytes` used elsewhere; False if they cannot fit."""
        max_bytes = self.max_bytes - reserved_bytes
        if nbytes > max_bytes:
            return False
        while self.nbytes + nbytes > max_bytes:
            self.cached.popitem(last=False)
        return True

    def run(
        self,
        network: StagedNetwork | BackboneWrapper,
        batches: Iterable[Batch],
        stem: Callable[[Batch], Tensor],
        *,
        count: int,
        reserved_bytes: Callable[[], int],
    ) -> Iterator[tuple[list[Tensor], Batch]]:
        """Yield the outputs of the stages for every batch under the current scheme.

        The last stage's output comes last; those before it are complete with `every_stage`.

        Starts from the scheme's longest cached prefix, and caches the outputs of the stages after it if they fit.

        Args:
            network: runs the remaining stages.
            batches: the same in every call.
            stem: computes the first stage's input from a batch.
            count: number of batches.
            reserved_bytes: gives the bytes used elsewhere; called after the first batch.
        """
        bits = network.scheme.stages
        prefix = self.longest(bits)
        shortest = 1 if self.every_stage else len(prefix)
        cached = [self.cached[prefix[:length]] for length in range(shortest, len(prefix) + 1)] if prefix else []
        kept: dict[Bits, list[Tensor]] | None = {}
        nbytes = reserved = 0
        for number, batch in enumerate(batches):
            features = [outputs[number] for outputs in cached]
            x = features[-1] if features else stem(batch)
            for stages, stage in enumerate(network.stages[len(prefix) :], start=len(prefix) + 1):
                x = stage(x)
                features.append(x)
                if kept is not None and stages < len(bits):
                    kept.setdefault(bits[:stages], []).append(x)
                    nbytes += x.nbytes
            if kept is not None and (number == 0 or nbytes > reserved):  # later images may be larger than the first
                reserved = nbytes * count if number == 0 else nbytes
                if not self.reserve(reserved, reserved_bytes=reserved_bytes()):
                    kept = None
            yield features, batch
        self.cached.update(kept or {})


def spare_memory(device: torch.device) -> int:
    """Bytes that caches may use: half of a GPU's free memory, or a quarter of the machine's.

    The processes of a machine share the latter, and a container's limit is respected.
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
