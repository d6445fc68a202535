"""What is said of a count: how far off the counter was on test photos of about so many people."""

from __future__ import annotations

from dataclasses import asdict

from ean_core.inference.count_errors import CountErrors, EmptyScenes, RangeErrors
from ean_core.utils.checked_dataclasses import checked

DENSE = [RangeErrors(100, 249, 12, 20.0, -3.0, 0.11), RangeErrors(1000, None, 3, 210.0, -200.0, 0.15)]
SPARSE = [RangeErrors(0, 0, 2, 3.0, 3.0, None), RangeErrors(100, 249, 40, 9.04, 1.0, 0.06)]
ERRORS = CountErrors({"part A": DENSE, "part B": SPARSE}, EmptyScenes(7, 2.5, 11.0))

UNKNOWN = "its error is unknown, since no test photo has a similar count"


def test_a_count_is_said_with_the_errors_on_photos_of_about_so_many_people() -> None:
    assert ERRORS.describe(249.4) == (
        "off by 20.0 on average on the 12 test photos of part A with 100 to 249 people, and by 9.0 on average on the "
        "40 test photos of part B with 100 to 249 people"
    )
    assert ERRORS.describe(1500) == "off by 210.0 on average on the 3 test photos of part A with 1,000 and more people"
    assert ERRORS.describe(400) == UNKNOWN
    assert ERRORS.near(99.6) == {"part A": DENSE[0], "part B": SPARSE[1]}


def test_a_small_count_may_be_of_nobody() -> None:
    nobody = "it counts 2.5 people on average, 11.0 at most, in 7 photos without any"
    assert ERRORS.describe(0.4) == f"off by 3.0 on average on the 2 test photos of part B with 0 people; {nobody}"
    assert ERRORS.describe(11) == f"{UNKNOWN}; {nobody}"
    assert ERRORS.describe(11.1) == UNKNOWN
    assert CountErrors({}).describe(3) == ""


def test_all_errors_in_a_sentence() -> None:
    assert str(ERRORS) == (
        "on the test photos of part A off by 20.0 people on average (11 %) with 100 to 249 people (12 photos), by "
        "210.0 (15 %) with 1,000 and more people (3 photos); on the test photos of part B off by 3.0 people on average "
        "with 0 people (2 photos), by 9.0 (6 %) with 100 to 249 people (40 photos); it counts 2.5 people on average, "
        "11.0 at most, in 7 photos without any"
    )


def test_figures_of_a_record_make_it_and_files_keep_it() -> None:
    ranges = {"part_A": {"mae": 1.0, "by_count": [asdict(row) for row in DENSE]}, "empty": asdict(ERRORS.empty)}
    assert CountErrors.of_record(ranges, photos="unused") == CountErrors({"part_A": tuple(DENSE)}, ERRORS.empty)
    alone = CountErrors.of_record(ranges["part_A"], photos="the fair")
    assert alone == CountErrors({"the fair": tuple(DENSE)})
    assert checked(CountErrors, asdict(alone), where="file", advice="") == alone
