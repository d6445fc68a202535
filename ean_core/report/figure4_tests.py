"""Figure 4's tests of a comparison's record: schemes of the searches against random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ean_core.utils.significance import compare_groups


def against_random(content: Mapping[str, Any], label: str) -> dict[str, Any]:
    """The test of a method's schemes, made anew from the record's values, with the searches as its units.

    Older records took every scheme for an independent one.

    Args:
        content: of a record of kind "search-comparison".
        label: of the method.
    """
    metrics = content["metrics"]
    values = metrics["figure4"]["methods"][label]["accuracy"]
    searches = sum(run["method"] == label for run in metrics["runs"])
    groups = np.array_split(values, max(1, searches))  # every seed draws as many, and they are kept seed by seed
    return compare_groups([group.tolist() for group in groups], metrics["figure4"]["random"]["accuracy"])
