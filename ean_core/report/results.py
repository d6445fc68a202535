"""What the report is made from: the paper's figures, the records, their pictures, and the scheme files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.io.file_format import is_later
from ean_core.io.json_file import read_json
from ean_core.io.records import FORMAT, read_record
from ean_core.io.scheme_record import read_scheme_file
from ean_core.report.elements import Element
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError
from ean_core.utils.files import is_hidden
from ean_core.utils.shipped_files import SCHEMES

PAPER = Path(__file__).with_name("paper.json")
"""The published figures."""

PICTURES = (".png", ".jpg", ".jpeg")
OTHER_FORMATS = {"ean-latency-1": "latency", "ean-pareto-1": "pareto"}
"""Formats of files that stand beside the records, and the kind of record that the report takes them for."""


@dataclass(frozen=True)
class Record:
    """A record, and the files that belong to it.

    Attributes:
        name: how the report names it: the file's path below the records' directory.
        content: the JSON.
        path: of the file.
        pictures: files whose name begins with the record's.
    """

    name: str
    content: dict[str, Any]
    path: Path
    pictures: tuple[Path, ...] = ()

    @property
    def kind(self) -> str:
        """What sort of run it is of, such as "pipeline" or "benchmark"."""
        return self.content["kind"]

    @property
    def settings(self) -> dict[str, Any]:
        """Recipe, data and seeds: all that is needed to repeat the run."""
        return self.content["settings"]

    @property
    def metrics(self) -> Any:
        """The figures; their shape depends on the kind."""
        return self.content["metrics"]

    @property
    def title(self) -> str:
        """The name without its ending."""
        return self.name.removesuffix(".json")

    @property
    def date(self) -> str:
        """The day on which it was written, as 2026-01-31; "" if it does not say."""
        return str((self.content.get("environment") or {}).get("date", ""))[:10]

    @property
    def machine(self) -> str:
        """Device, PyTorch's version, and the commit where it is known, for a table's note."""
        environment = self.content.get("environment")
        if not isinstance(environment, dict):
            return "machine not recorded"
        commit, versions = environment.get("commit"), environment.get("versions")
        version = versions.get("torch", "?") if isinstance(versions, dict) else "?"
        text = f"{environment.get('device', 'a device')}, torch {version}"
        if not isinstance(commit, str) or not commit:
            return text
        return f"{text}, commit {commit[:8]}{' with changes' if commit.endswith('+changes') else ''}"


@dataclass(frozen=True)
class SchemeFile:
    """A shipped scheme.

    Attributes:
        name: of the file, without its ending.
        scheme: its bits.
        content: the JSON, with the scheme's origin.
    """

    name: str
    scheme: Scheme
    content: dict[str, Any]

    @property
    def published(self) -> bool:
        """Whether it is one of the paper's."""
        return "source" in self.content


@dataclass(frozen=True)
class Results:
    """All that the sections are made from.

    Attributes:
        directory: of the records.
        paper: the published figures.
        records: sorted by name.
        schemes: the scheme files.
        other_pictures: pictures in the directory that belong to no record.
    """

    directory: Path
    paper: dict[str, Any]
    records: tuple[Record, ...]
    schemes: tuple[SchemeFile, ...]
    other_pictures: tuple[Path, ...] = ()

    @classmethod
    def read(cls, directory: Path | None) -> Results:
        """Read a directory of records, None for no records; the paper's figures and the schemes come with the project.

        Raises:
            EANError: if the directory is missing, or one of its files cannot be read.
        """
        if directory is None:
            return cls(Path("results"), read_paper(PAPER), (), read_schemes())
        if not directory.is_dir():
            raise EANError(
                f"{directory} is not a directory: name the folders of your runs, as in --html FILE work_dirs/NAME, or "
                "give --results the directory that holds the records"
            )
        files = visible(directory, "*.json")
        pictures = [path for path in visible(directory, "**/*") if path.suffix.lower() in PICTURES]
        owned = assign_pictures(pictures, [path.stem for path in files], directory)
        records = [read_file(path, path.name, owned[path.stem]) for path in files]
        return cls(directory, read_paper(PAPER), tuple(records), read_schemes(), tuple(owned[""]))

    def of_kind(self, *kinds: str) -> list[Record]:
        """The records of these kinds, sorted by name."""
        return [record for record in self.records if record.kind in kinds]

    def elements(
        self, kinds: Iterable[str], elements_of: Callable[[Results, Record], Sequence[Element]]
    ) -> list[Element]:
        """What the records of these kinds become, one record after the other."""
        return [element for record in self.of_kind(*kinds) for element in elements_of(self, record)]


def visible(directory: Path, pattern: str) -> list[Path]:
    """The regular files of a pattern by name, without hidden ones: a killed run can have left parts of files."""
    return [path for path in sorted(directory.glob(pattern)) if path.is_file() and not is_hidden(path, directory)]


def read_file(path: Path, name: str, pictures: Iterable[Path]) -> Record:
    """A record, or a file of one of the `OTHER_FORMATS` as if it were a record.

    Raises:
        EANError: if it cannot be read or is neither.
    """
    content = read_object(path)
    kind = OTHER_FORMATS.get(str(content.get("format")))
    if kind is None:
        return Record(name, read_record(path), path, tuple(pictures))
    settings = {key: value for key, value in content.items() if key not in ("points", "increments", "check")}
    environment = {"environment": content["environment"]} if "environment" in content else {}
    return Record(name, {"kind": kind, "settings": settings, "metrics": content, **environment}, path, tuple(pictures))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's content, empty if it cannot be read or is not an object."""
    try:
        content = read_json(path, advice="")
    except EANError:
        return {}
    return content if isinstance(content, dict) else {}


def is_record_file(path: Path) -> bool:
    """Whether the report can show a JSON file; run.json and scheme.json are of other formats."""
    found, formats = read_object(path).get("format"), (FORMAT, *OTHER_FORMATS)
    return found in formats or any(is_later(found, expected) for expected in formats)  # read to be refused


def read_paper(path: Path) -> dict[str, Any]:
    """The published figures of paper.json.

    Raises:
        EANError: if it cannot be read.
    """
    advice = "take it from the repository"
    content = read_json(path, advice=advice)
    if not isinstance(content, dict):
        raise EANError(f"{path} holds no figures of the paper: {advice}")
    return content


def read_schemes() -> tuple[SchemeFile, ...]:
    """The shipped schemes by name; raises as `Scheme.load` does."""
    paths = visible(SCHEMES, "*.json")
    return tuple(SchemeFile(path.stem, Scheme.load(path), read_scheme_file(path)) for path in paths)


def assign_pictures(pictures: Iterable[Path], stems: list[str], directory: Path) -> dict[str, list[Path]]:
    """Pictures by the record they belong to, "" for none: the longest stem that the picture's path begins with.

    `run.search.png`, `run_2.png` and `run/3.png` belong to `run.json`, and `run_2.png` to `run_2.json` if there is one.
    """
    owned: dict[str, list[Path]] = {stem: [] for stem in [*stems, ""]}
    for picture in pictures:
        name = picture.relative_to(directory).as_posix()
        owners = [stem for stem in stems if name.startswith(stem) and name[len(stem)] in "._-/"]
        owned[max(owners, key=len, default="")].append(picture)
    return owned


MISSHAPEN = (KeyError, IndexError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""What a section raises for a record that lacks a field, or has another value in it than its kind has."""


@contextmanager
def naming_record(record: Record) -> Iterator[None]:
    """Turn the error of a missing or misshapen field into a sentence that names the record.

    Raises:
        EANError: in place of the error.
    """
    try:
        yield
    except MISSHAPEN as error:
        if isinstance(error, EANError):
            raise
        raise EANError(
            f"record {record.path} is of kind {record.kind!r} but lacks what the report shows of it "
            f"({type(error).__name__}: {error}): write it again with the command that made it"
        ) from error
