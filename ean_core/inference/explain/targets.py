"""What Grad-CAM explains: one number of a network's output, such as the logit of a class or the count of a crowd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from numbers import Integral

from torch import Tensor

from ean_core.utils.errors import EANError, unknown_name


@dataclass(frozen=True)
class Target:
    """One number, and how it is said.

    Attributes:
        name: "bee", "count".
        value: the output for one image -> the scalar that is differentiated.
        text: the output for one image -> what stands under the heatmap.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    text: Callable[[Tensor], str]


def class_index(classes: Sequence[str], choice: str | int) -> int:
    """The index of a class by its name or, where no class is called that, by its number, as text or as an integer.

    Raises:
        EANError: for neither, with the nearest name.
    """
    if isinstance(choice, str) and choice in classes:
        return list(classes).index(choice)
    number = choice if isinstance(choice, Integral) and not isinstance(choice, bool) else str(choice)
    if isinstance(number, str):
        number = int(number) if number.isascii() and number.isdecimal() and isinstance(choice, str) else -1
    if 0 <= number < len(classes):
        return int(number)
    near = get_close_matches(str(choice), list(classes), n=3) or list(classes[:3])
    raise EANError(
        f"unknown class {choice!r}: give the name of one of the {len(classes)} classes, such as {', '.join(near)}, or "
        f"its number from 0 to {len(classes) - 1}"
    )


def class_label(name: str) -> str:
    """A class as pictures name it: "class 8" where its name is a number."""
    return f"class {name}" if name.isdecimal() else name


def class_target(output: Tensor, choice: str | int | None, *, classes: Sequence[str]) -> Target:
    """The logit of a class, of logits (K,); the most probable class if no class is chosen.

    The text has the softmax score of the class and, where that is another one, the most probable class with its own.
    """
    index = int(output.argmax()) if choice is None else class_index(classes, choice)

    def text(logits: Tensor) -> str:
        scores = logits.float().softmax(dim=0)
        best = int(scores.argmax())
        lines = [f"{class_label(classes[index])}, {100 * scores[index]:.0f} %"]
        if best != index:
            lines.append(f"top: {class_label(classes[best])}, {100 * scores[best]:.0f} %")
        return "\n".join(lines)

    return Target(classes[index], lambda logits: logits[index], text)


def region_target(output: Tensor, choice: str | int | None, *, classes: Sequence[str]) -> Target:
    """A class of a segmentation, of logits (K, H, W): the mean of its logit over the pixels that are taken for it.

    Where none is, the mean over all pixels. Without a choice it is the one that most pixels are taken for,
    background aside. The text has the share of pixels that are taken for the class.
    """
    labels = output.argmax(dim=0)
    counts = labels.flatten().bincount(minlength=len(classes))
    if choice is None:
        if classes[0] == "background" and counts[1:].any():
            counts[0] = 0
        index = int(counts.argmax())
    else:
        index = class_index(classes, choice)
    region = labels == index

    def value(logits: Tensor) -> Tensor:
        inside = region.to(logits.device)
        return logits[index][inside].mean() if region.any() else logits[index].mean()

    share = 100 * float(region.float().mean())
    return Target(classes[index], value, lambda logits: f"{class_label(classes[index])}, {share:.0f} % of the pixels")


def count_target(output: Tensor, choice: str | int | None) -> Target:
    """The predicted count, the sum of a density map (1, h, w); there is nothing else to want."""
    if choice not in (None, "count"):
        raise unknown_name("target", choice, ["count"])
    return Target("count", lambda density: density.sum(), lambda density: f"count {density.sum():.1f}")
