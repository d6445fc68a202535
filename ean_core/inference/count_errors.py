"""How far off a counter was on test photos, by how many people they show, and on photos without anyone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ean_core.utils.checked_dataclasses import Count, Positive, Range
from ean_core.utils.text import how_many

Error = Annotated[float, Range(0)]


@dataclass(frozen=True)
class RangeErrors:
    """The errors on the test photos whose true count lies in a range.

    Attributes:
        low, high: smallest and largest true count; no largest one in the last range.
        images: how many photos these are.
        mae: mean absolute error, in people.
        bias: mean of predicted minus true, in people.
        relative: mean of |error| / true count; None for photos without people.
    """

    low: Count
    high: Count | None
    images: Positive
    mae: Error
    bias: float
    relative: Error | None

    @property
    def people(self) -> str:
        """The range in words: "0", "100 to 249", "1,000 and more"."""
        if self.high is None:
            return f"{self.low:,} and more"
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class EmptyScenes:
    """What was counted in photos without people.

    Attributes:
        images: how many photos these are.
        mean: people counted in a photo, on average.
        largest: people counted in the photo with the largest count.
    """

    images: Positive
    mean: Error
    largest: Error

    def __str__(self) -> str:
        return f"{self.mean:.1f} people on average, {self.largest:.1f} at most, in {self.images} photos without any"


@dataclass(frozen=True)
class CountErrors:
    """The errors of a counter by the number of people, and in empty scenes.

    Attributes:
        by_count: test photos, such as "part A" -> their errors, by the true count.
        empty: None where it was not tested.
    """

    by_count: Mapping[str, Sequence[RangeErrors]]
    empty: EmptyScenes | None = None

    @classmethod
    def of_record(cls, figures: Mapping[str, Any], *, photos: str) -> CountErrors:
        """Those of a checkpoint in a test.json of crowd_counting/test.py.

        Args:
            figures: `metrics["best"]`, say.
            photos: what the only part is called; parts that were tested together keep their names.
        """
        ranges = {
            part or photos: tuple(RangeErrors(**row) for row in errors["by_count"])
            for part, errors in by_part(figures).items()
        }
        return cls(ranges, EmptyScenes(**figures["empty"]) if "empty" in figures else None)

    def __str__(self) -> str:
        """All of them: "on the test photos of part A off by 24.0 people on average (35 %) with 50 to 99 people (7
        photos), by 32.8 (18 %) with 100 to 249 people (62 photos)"."""
        parts = []
        for photos, ranges in self.by_count.items():
            off = [
                f"by {errors.mae:.1f}{'' if number else ' people on average'}"
                f"{'' if errors.relative is None else f' ({100 * errors.relative:.0f} %)'} with {errors.people} people "
                f"({how_many(errors.images, 'photo')})"
                for number, errors in enumerate(ranges)
            ]
            parts.append(f"on the test photos of {photos} off {', '.join(off)}")
        if self.empty is not None:
            parts.append(f"it counts {self.empty}")
        return "; ".join(parts)

    def near(self, count: float) -> dict[str, RangeErrors]:
        """The errors on test photos with about so many people, by the test photos they are of."""
        found = {}
        for photos, ranges in self.by_count.items():
            for errors in ranges:
                if errors.low <= round(count) and (errors.high is None or round(count) <= errors.high):
                    found[photos] = errors
        return found

    def describe(self, count: float) -> str:
        """How far off a predicted count may be: "off by 21.3 on average on the 48 test photos of part A with 100 to
        249 people"; of small counts also what is counted in photos of nobody. "" without test photos.
        """
        near = self.near(count).items()
        off = [
            f"{errors.mae:.1f} on average on the {errors.images} test photos of {photos} with {errors.people} people"
            for photos, errors in near
        ]
        parts = [f"off by {', and by '.join(off)}"] if off else []
        if self.by_count and not off:
            parts.append("its error is unknown, since no test photo has a similar count")
        if self.empty is not None and count <= self.empty.largest:
            parts.append(f"it counts {self.empty}")
        return "; ".join(parts)


def by_part(figures: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The figures of each part in those of a counting record; "" stands for the only part."""
    parts = {name: value for name, value in figures.items() if isinstance(value, Mapping) and "mae" in value}
    return parts or {"": figures}
