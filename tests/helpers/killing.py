"""Runs that end in their middle."""

from __future__ import annotations

from typing import Any

import pytest


class Killed(BaseException):
    """Raised where a test ends a run, as a kill would: nothing catches it."""


def kill_at(patch: pytest.MonkeyPatch, owner: type, method: str, number: int, *, done: bool = False) -> None:
    """Let a method raise `Killed` at a call, counted from 1, in place of its work or, if `done`, after it."""
    original, calls = getattr(owner, method), []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == number and not done:
            raise Killed
        result = original(*arguments, **options)
        if len(calls) == number:
            raise Killed
        return result

    patch.setattr(owner, method, call)
