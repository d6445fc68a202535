"""Everything the report is made from: the paper's figures, the records, their pictures, and the schemes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ean_core.io.json_file import read_json
from ean_core.io.records import FORMAT, read_record
from ean_core.report.blocks import Block
from ean_core.scheme import Scheme, read_scheme_file
from ean_core.utils.errors import EANError
from ean_core.utils.files import is_hidden

PICTURES = (".png", ".jpg", ".jpeg")
OTHERS = {"ean-latency-1": "latency", "ean-pareto-1": "pareto"}
"""Formats of files that stand beside the records, and the kind as which the report takes them."""


@dataclass(frozen=True)
class Entry:
    """A record and where it is from.

    Attributes:
        name: how the report names it: the file's path below the records' directory.
        content: the JSON.
        path: of the file.
        pictures: files that belong to it: those whose name begins with its own.
    """

    name: str
    content: dict[str, Any]
    path: Path
    pictures: tuple[Path, ...] = ()

    @property
    def kind(self) -> str:
        """What sort of run it is of."""
        return self.content["kind"]

    @property
    def settings(self) -> dict[str, Any]:
        """What was done."""
        return self.content["settings"]

    @property
    def metrics(self) -> Any:
        """What came out."""
        return self.content["metrics"]

    @property
    def title(self) -> str:
        """The name without its ending."""
        return self.name.removesuffix(".json")

    @property
    def date(self) -> str:
        """The day on which it was written, "" if it does not say."""
        return str((self.content.get("environment") or {}).get("date", ""))[:10]

    @property
    def machine(self) -> str:
        """Device, version, and the commit where it is known."""
        found = self.content.get("environment")
        if not isinstance(found, dict):
            return "machine not recorded"
        commit, versions = found.get("commit"), found.get("versions")
        version = versions.get("torch", "?") if isinstance(versions, dict) else "?"
        text = f"{found.get('device', 'a device')}, torch {version}"
        if not isinstance(commit, str) or not commit:
            return text
        return f"{text}, commit {commit[:8]}{' with changes' if commit.endswith('+changes') else ''}"


@dataclass(frozen=True)
class NamedScheme:
    """A scheme file."""

    name: str
    scheme: Scheme
    content: dict[str, Any]

    @property
    def published(self) -> bool:
        """Whether it is one of the paper's."""
        return "source" in self.content


@dataclass(frozen=True)
class Book:
    """What the sections read.

    Attributes:
        directory: of the records.
        paper: the published figures.
        entries: the records, by name.
        schemes: the scheme files.
        loose: pictures beside the records that belong to none.
    """

    directory: Path
    paper: dict[str, Any]
    entries: tuple[Entry, ...]
    schemes: tuple[NamedScheme, ...]
    loose: tuple[Path, ...] = ()

    @classmethod
    def read(cls, directory: Path) -> Book:
        """Read a directory of records and paper.json, and the schemes/ directory beside it, if there is one.

        Raises:
            EANError: if the directory is missing, or one of its files cannot be read.
        """
        if not directory.is_dir():
            raise EANError(f"{directory} is not a directory: give --results the directory that holds the records")
        paper = read_paper(directory / "paper.json")
        files = [path for path in visible(directory, "*.json") if path.name != "paper.json"]
        pictures = [path for path in visible(directory, "**/*") if path.suffix.lower() in PICTURES]
        owned = assign(pictures, [path.stem for path in files], directory)
        entries = [read_entry(path, path.name, owned[path.stem]) for path in files]
        schemes = read_schemes(visible(directory.resolve().parent / "schemes", "*.json"))
        return cls(directory, paper, tuple(entries), tuple(schemes), tuple(owned[""]))

    def of(self, *kinds: str) -> list[Entry]:
        """The records of these kinds, by name."""
        return [entry for entry in self.entries if entry.kind in kinds]

    def blocks(self, kinds: Iterable[str], blocks_of: Callable[[Book, Entry], Sequence[Block]]) -> list[Block]:
        """The blocks of all records of these kinds, record by record."""
        return [block for entry in self.of(*kinds) for block in blocks_of(self, entry)]


def visible(directory: Path, pattern: str) -> list[Path]:
    """The files of a pattern by name, without hidden ones: a killed run can have left parts of files."""
    return [path for path in sorted(directory.glob(pattern)) if not is_hidden(path, directory)]


def read_entry(path: Path, name: str, pictures: Iterable[Path]) -> Entry:
    """A record, or a file of another format as if it were one, its kind then named by `OTHERS`.

    Raises:
        EANError: if it cannot be read or is neither.
    """
    content = read_object(path)
    kind = OTHERS.get(str(content.get("format")))
    if kind is None:
        return Entry(name, read_record(path), path, tuple(pictures))
    settings = {key: value for key, value in content.items() if key not in ("points", "increments", "check")}
    environment = {"environment": content["environment"]} if "environment" in content else {}
    return Entry(name, {"kind": kind, "settings": settings, "metrics": content, **environment}, path, tuple(pictures))


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file's content, empty if it cannot be read or is no object."""
    try:
        content = read_json(path, advice="")
    except EANError:
        return {}
    return content if isinstance(content, dict) else {}


def shown(path: Path) -> bool:
    """Whether the report takes a JSON file; run.json and scheme.json are of other formats."""
    return str(read_object(path).get("format")) in (FORMAT, *OTHERS)


def read_paper(path: Path) -> dict[str, Any]:
    """The paper's figures."""
    advice = "take it from the repository"
    content = read_json(path, advice=advice)
    if not isinstance(content, dict):
        raise EANError(f"{path} holds no figures of the paper: {advice}")
    return content


def read_schemes(paths: Iterable[Path]) -> list[NamedScheme]:
    """Scheme files by name."""
    return [NamedScheme(path.stem, Scheme.load(path), read_scheme_file(path)) for path in paths]


def assign(pictures: Iterable[Path], stems: list[str], directory: Path) -> dict[str, list[Path]]:
    """Pictures by the record they belong to, "" for none: the longest stem that the picture's path begins with.

    `run.search.png`, `run_2.png` and `run/3.png` belong to `run.json`, and `run_2.png` to `run_2.json` if there is one.
    """
    owned: dict[str, list[Path]] = {stem: [] for stem in [*stems, ""]}
    for picture in pictures:
        name = picture.relative_to(directory).as_posix()
        fitting = [stem for stem in stems if name.startswith(stem) and name[len(stem)] in "._-/"]
        owned[max(fitting, key=len, default="")].append(picture)
    return owned


@contextmanager
def shape_of(entry: Entry) -> Iterator[None]:
    """Turn a missing or misshapen field of a record into a sentence that names the record."""
    try:
        yield
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, EANError):
            raise
        raise EANError(
            f"record {entry.path} is of kind {entry.kind!r} but lacks what the report shows of it "
            f"({type(error).__name__}: {error}): write it again with the command that made it"
        ) from error
