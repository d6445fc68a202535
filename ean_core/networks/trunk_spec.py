"""What decides the residual network inside a network of any task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrunkSpec:
    """Arguments of `create_model` as plain values, which every task's spec has and adds its own fields to.

    A spec stands in the network's file as "model" and in the identity of a run: a new field is one more difference
    from the runs that are on the disk already.

    Attributes:
        scheme: bits, or None for all ones.
        unconnected: "identity", or "mean" for a supernet with mean masks.
    """

    arch: str
    attention: str | None = None
    sharing: str = "stage"
    scheme: str | None = None
    attention_options: Mapping[str, Any] = field(default_factory=dict)
    unconnected: str = "identity"

    def trunk_arguments(self) -> dict[str, Any]:
        """The fields that all tasks have, as arguments of `create_model`."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(TrunkSpec)}
