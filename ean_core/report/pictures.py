"""Pictures: those of a record, and the predictions, Grad-CAM grids and others that stand beside the records."""

from __future__ import annotations

import tempfile
from inspect import unwrap
from pathlib import Path

from ean_core.report.blocks import Block, Gap, Picture, Section
from ean_core.report.book import Book, Entry, shape_of
from ean_core.report.cells import sentence

CAM = "python tools/gradcam.py IMAGES... --checkpoints org.pth share_full.pth ean.pth"


def pictures_of(entry: Entry, shows: str = "") -> list[Picture]:
    """The pictures that belong to a record, in the order of their names."""
    return [
        Picture(
            title_of(path),
            f"{title_of(path)}: {shows}" if shows else f"picture of the record {entry.title}: {title_of(path)}",
            path,
            note=f"{sentence(shows)} {sentence(entry.machine)}" if shows else "",
            records=(entry.name,),
        )
        for path in entry.pictures
    ]


def drawn(entry: Entry, function: str, *, title: str, shows: str) -> Picture:
    """A figure of `ean_core.report.plots_search` that is drawn from a record for the page."""

    def draw() -> bytes:
        from ean_core.report import plots_search  # matplotlib takes a second to import

        with shape_of(entry), tempfile.TemporaryDirectory() as folder:
            path: Path = unwrap(getattr(plots_search, function))(Path(folder) / "figure.png", entry.content)
            return path.read_bytes()

    note = f"{sentence(shows)} {entry.machine}."
    return Picture(title, f"{title}: {shows}", draw, note=note, records=(entry.name,))


def title_of(path: Path) -> str:
    """`run.search.png` as `run, search`."""
    return path.stem.replace(".", ", ").replace("_", " ")


def is_cam(path: Path) -> bool:
    """Whether a picture is a Grad-CAM grid, by its name."""
    return "cam" in path.stem.lower().replace("-", "_").replace("gradcam", "cam").split("_")


def cam_section(book: Book) -> Section:
    """Figure 6: the heatmaps."""
    found: list[Block] = [
        Picture(title_of(path), f"Grad-CAM heatmaps: {title_of(path)}", path) for path in book.loose if is_cam(path)
    ]
    return Section(
        "figure-6",
        "Figure 6: Grad-CAM",
        found or [Gap("Grad-CAM grids", CAM)],
        "Where the networks look: heatmaps of the target class, with its softmax score below each.",
    )


def loose_section(book: Book) -> Section:
    """Pictures in the records' directory that belong to no record."""
    found: list[Block] = [
        Picture(title_of(path), f"picture: {title_of(path)}", path) for path in book.loose if not is_cam(path)
    ]
    return Section("pictures", "Other pictures", found)
