"""Pictures that belong to a record, and the Grad-CAM grids and others that lie beside the records."""

from __future__ import annotations

import tempfile
from inspect import unwrap
from pathlib import Path

from ean_core.report.elements import Element, Gap, Picture, Section
from ean_core.report.formatting import sentence
from ean_core.report.results import Record, Results, naming_record
from ean_core.report.titles import record_title, words_of

CAM_COMMAND = "python tools/gradcam.py IMAGES... --checkpoints org.pth share_full.pth ean.pth"


def pictures_of(record: Record, shows: str = "") -> list[Picture]:
    """The pictures that belong to a record, sorted by name.

    Args:
        record: whose name the files' names begin with.
        shows: what they show, for the alternative text and the note.
    """
    return [
        Picture(
            picture_title(record, path),
            f"{picture_title(record, path)}: {shows or 'picture of the record'}",
            path,
            note=f"{sentence(shows)} {sentence(record.machine)}" if shows else "",
            records=(record.name,),
        )
        for path in record.pictures
    ]


def drawn(record: Record, function: str, *, title: str, shows: str) -> Picture:
    """A figure that is drawn from a record for the page.

    Args:
        record: of a comparison of search methods.
        function: the name of a function of `ean_core.report.plots_search`.
        title: above the figure.
        shows: what it shows, for the alternative text and the note.
    """

    def draw() -> bytes:
        from ean_core.report import plots_search  # matplotlib takes a second to import

        with naming_record(record), tempfile.TemporaryDirectory() as folder:
            path: Path = unwrap(getattr(plots_search, function))(Path(folder) / "figure.png", record.content)
            return path.read_bytes()

    note = f"{sentence(shows)} {record.machine}."
    return Picture(title, f"{title}: {shows}", draw, note=note, records=(record.name,))


def picture_title(record: Record, path: Path) -> str:
    """What a record is of, and what the picture's name has beyond the record's: "..: search" for `run.search.png`."""
    more = words_of(path.stem.removeprefix(record.path.stem).strip("._-"))
    return f"{record_title(record)}{f': {more}' if more else ''}"


def is_cam(path: Path) -> bool:
    """Whether a picture is a Grad-CAM grid, by its name."""
    return "cam" in path.stem.lower().replace("-", "_").replace("gradcam", "cam").split("_")


def cam_section(results: Results) -> Section:
    """Figure 6: the Grad-CAM grids beside the records."""
    grids = [path for path in results.other_pictures if is_cam(path)]
    titles = [words_of(path.stem) for path in grids]
    elements: list[Element] = [
        Picture(title, f"Grad-CAM heatmaps: {title}", path) for title, path in zip(titles, grids, strict=True)
    ]
    return Section(
        "figure-6",
        "Figure 6: Grad-CAM",
        elements or [Gap("Grad-CAM grids", CAM_COMMAND)],
        "Where the networks look: heatmaps of the target class, with its softmax score below each.",
    )


def other_pictures_section(results: Results) -> Section:
    """Pictures in the records' directory that belong to no record."""
    paths = [path for path in results.other_pictures if not is_cam(path)]
    elements = [Picture(words_of(path.stem), f"picture: {words_of(path.stem)}", path) for path in paths]
    return Section("pictures", "Other pictures", elements)
