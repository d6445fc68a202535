"""What all matplotlib pictures have in common: text is shown as it is, and a picture that fails costs no run."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from ean_core.utils.errors import EANError, first_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")


def render(figure: Figure, target: Any, **how: Any) -> None:
    """`Figure.savefig` with every text as it is: a dollar sign in a photo's or a recipe's name begins no formula.

    Args:
        figure: with all that it shows.
        target: a path or a stream.
        how: further arguments of `savefig`.
    """
    from matplotlib.text import Text  # matplotlib takes a second to import

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    figure.savefig(target, **how)


def skip_on_error(
    draw: Callable[Concatenate[str | Path, P], Path],
) -> Callable[Concatenate[str | Path, P], Path]:
    """Decorate a function that draws into a file: where it fails, a sentence says so, and the run goes on.

    What the picture shows is in a record already. One of an earlier run is removed, since it would contradict it.
    """

    @functools.wraps(draw)
    def drawn(path: str | Path, *args: P.args, **kwargs: P.kwargs) -> Path:
        try:
            return draw(path, *args, **kwargs)
        except EANError:
            raise
        except Exception as error:  # fonts, sizes and disks fail in many ways
            Path(path).unlink(missing_ok=True)
            print(f"note: {path} cannot be drawn ({first_line(error)}); its numbers are in the record", file=sys.stderr)
            return Path(path)

    return drawn
