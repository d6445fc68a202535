"""The tiny recipe and its job, as the pipeline's tests have them."""

from __future__ import annotations

from tests.helpers.quick_runs import quick_runs
from tests.pipeline.conftest import job, tiny

__all__ = ["job", "quick_runs", "tiny"]
