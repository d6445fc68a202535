"""Helpers for matplotlib figures: literal text, and errors that do not stop a run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from ean_core.utils.errors import EANError, first_line, one_line
from ean_core.utils.wrapping import print_wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")


def render(figure: Figure, target: Any, **options: Any) -> None:
    """`Figure.savefig` without mathtext, so that a dollar sign in a file's or recipe's name is shown literally.

    Args:
        figure: the finished figure.
        target: a path or a stream.
        options: further arguments of `savefig`.
    """
    from matplotlib.text import Text  # imported here because it takes a second

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    figure.savefig(target, **options)


def skip_on_error(
    draw: Callable[Concatenate[str | Path, P], Path],
) -> Callable[Concatenate[str | Path, P], Path]:
    """Decorate a function that draws to a file: if drawing fails, print a note and continue.

    The figure's numbers are in a record already. A picture of an earlier run is removed, since it would contradict it.
    """

    @functools.wraps(draw)
    def wrapped(path: str | Path, *args: P.args, **kwargs: P.kwargs) -> Path:
        try:
            return draw(path, *args, **kwargs)
        except EANError:
            raise
        except Exception as error:  # fonts, sizes and disks fail in many ways
            Path(path).unlink(missing_ok=True)
            note = f"note: {path} cannot be drawn ({first_line(error)}); its numbers are in the record"
            print_wrapped(one_line(note), file=sys.stderr)
            return Path(path)

    return wrapped
