"""A connection scheme: one bit per residual block, grouped by stage.

Efficient Attention Network, section 4.1 (https://arxiv.org/abs/2011.14058): `a_l = 1` connects block `l` to the
attention module of its stage, `a_l = 0` leaves it a plain residual block.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ean_core.io.scheme_record import FORMAT, read_scheme_file
from ean_core.utils.checked_dataclasses import Range, check_arguments, shorten
from ean_core.utils.errors import EANError, nearest
from ean_core.utils.files import write_atomic
from ean_core.utils.shipped_files import scheme_names, shipped_scheme

MAX_BLOCKS = 1_000_000


@dataclass(frozen=True)
class Scheme:
    """Immutable bits, and how many blocks each stage has.

    Attributes:
        bits: one of 0 or 1 per block, in the order in which the blocks are computed.
        blocks: number of blocks of each stage; they sum to `len(bits)`.
    """

    bits: tuple[int, ...]
    blocks: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bits", whole_numbers(self.bits, what="bits"))
        object.__setattr__(self, "blocks", blocks_per_stage(self.blocks))
        if set(self.bits) - {0, 1}:
            raise EANError(f"a scheme holds only 0 and 1, got {sorted(set(self.bits) - {0, 1})}")
        if len(self.bits) != sum(self.blocks):
            raise EANError(
                f"the scheme has {len(self.bits)} bits but the network needs {sum(self.blocks)}, one per block "
                f"({describe_blocks(self.blocks)})"
            )

    # -- making one ---------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, text: str, *, blocks: Sequence[int]) -> Scheme:
        """Read bits such as `"0011 | 0101"`; spaces, commas, underscores and `|` between stages are ignored.

        Where `|` is used, every part must have its stage's length.

        Raises:
            EANError: for other characters or a wrong number of bits.
        """
        check_arguments("Scheme.parse", text=(text, str))
        blocks = blocks_per_stage(blocks)
        if stray := re.sub(r"[01\s,|_]", "", text):
            raise EANError(
                f"a scheme is written with 0 and 1 (spaces, commas and | between stages), found {stray[0]!r} in "
                f"{text[:80]!r}"
            )
        parts = [re.sub(r"[\s,_]", "", part) for part in text.split("|")]
        if len(parts) > 1 and [len(part) for part in parts] != list(blocks):
            raise EANError(
                f"the scheme {text[:120]!r} has stages of {'+'.join(str(len(part)) for part in parts)} bits but the "
                f"network needs {'+'.join(map(str, blocks))}"
            )
        return cls(tuple(int(bit) for bit in "".join(parts)), tuple(blocks))

    @classmethod
    def all_on(cls, blocks: Sequence[int]) -> Scheme:
        """The share-full network: every block connected."""
        blocks = blocks_per_stage(blocks)
        return cls((1,) * sum(blocks), blocks)

    @classmethod
    def all_off(cls, blocks: Sequence[int]) -> Scheme:
        """The vanilla residual network: no block connected."""
        blocks = blocks_per_stage(blocks)
        return cls((0,) * sum(blocks), blocks)

    @classmethod
    def random(cls, blocks: Sequence[int], rng: np.random.Generator, *, p: float = 0.5) -> Scheme:
        """Independent bits, each 1 with probability `p` (Algorithm 1, line 3: `p` = 0.5)."""
        check_arguments("Scheme.random", rng=(rng, np.random.Generator), p=(p, Annotated[float, Range(0, 1)]))
        blocks = blocks_per_stage(blocks)
        return cls(tuple((rng.random(sum(blocks)) < p).astype(int).tolist()), tuple(blocks))

    @classmethod
    def random_of_size(cls, blocks: Sequence[int], connections: int, rng: np.random.Generator) -> Scheme:
        """A number of connections, at places that are all equally probable."""
        bits = np.zeros(sum(blocks), dtype=int)
        bits[rng.permutation(sum(blocks))[:connections]] = 1
        return cls(tuple(bits.tolist()), tuple(blocks))

    @classmethod
    def periodic(cls, blocks: Sequence[int], *, period: int, offset: int = 0) -> Scheme:
        """The heuristic of Table 4: connect every `period`-th block, counted over the whole network.

        `period=2, offset=0` is 1010..; `offset=1` is 0101...
        """
        if period < 1 or not 0 <= offset < period:
            raise EANError(f"a periodic scheme needs period >= 1 and 0 <= offset < period, got {period} and {offset}")
        return cls(tuple(int(i % period == offset) for i in range(sum(blocks))), tuple(blocks))

    # -- looking at it ------------------------------------------------------------------------------------------

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The bits of each stage."""
        ends = np.cumsum(self.blocks).tolist()
        return tuple(self.bits[end - count : end] for end, count in zip(ends, self.blocks, strict=True))

    @property
    def connections(self) -> int:
        """Number of connected blocks, the zero norm of Eq. 6."""
        return sum(self.bits)

    @property
    def sparsity(self) -> float:
        """g_spa = 1 - |a|_0 / m (Eq. 6), in [0, 1]."""
        return 1.0 - self.connections / len(self.bits)

    @property
    def text(self) -> str:
        """The bits without separators, the key under which a scheme is remembered."""
        return "".join(map(str, self.bits))

    def __len__(self) -> int:
        return len(self.bits)

    def __str__(self) -> str:
        return " | ".join("".join(map(str, stage)) for stage in self.stages)

    # -- files --------------------------------------------------------------------------------------------------

    def save(self, path: str | Path, **provenance: Any) -> None:
        """Write a scheme.json: the bits and everything the later steps and a reader want to know of their origin.

        Args:
            path: where to write; replaced atomically.
            provenance: JSON values such as arch, attention, method, seed, reward, supernet_sha256. What the file says
                of the bits is always this scheme's, even if `provenance` was read from another scheme's file.
        """
        check_arguments("Scheme.save", path=(path, str | Path))
        record = {
            "format": FORMAT,
            "blocks": list(self.blocks),
            "stages": ["".join(map(str, stage)) for stage in self.stages],
            "connections": self.connections,
            "sparsity": self.sparsity,
        }
        write_atomic(path, json.dumps({**record, **provenance, **record}, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | Path, *, blocks: Sequence[int] | None = None) -> Scheme:
        """Read a scheme.json.

        Args:
            path: the file, or the name of a shipped scheme.
            blocks: the network's blocks per stage, if they are to be checked.

        Raises:
            EANError: if the file is missing, is not a scheme, or is one of another network.
        """
        record = read_scheme_file(path)
        scheme = cls(tuple(int(bit) for stage in record["stages"] for bit in stage), tuple(record["blocks"]))
        if blocks is not None and scheme.blocks != tuple(blocks):
            of = f" of {record['arch']}" if record.get("arch") else ""
            raise EANError(
                f"{path} holds a scheme for {describe_blocks(scheme.blocks)}{of}, but the network has "
                f"{describe_blocks(blocks)}"
            )
        return scheme


MODES = ("org", "org-full", "share-full")
"""Schemes by the paper's names of their networks: no attention, one module per block, one per stage."""

SchemeLike = Scheme | str | Path | Iterable[int] | None


def as_scheme(value: SchemeLike, blocks: Sequence[int]) -> Scheme:
    """Accept what `create_model` and the commands accept.

    Args:
        value: None (all ones), a `Scheme`, `"org"` (all zeros), `"share-full"` or `"org-full"` (all ones; the network
            has one attention module per stage or per block), a string of bits, 0/1 values, a path to a scheme.json, or
            the name of a shipped scheme such as `"paper_ean_se_resnet50"`.
        blocks: the network's blocks per stage.

    Raises:
        EANError: if the scheme is not one for these blocks.
    """
    if isinstance(value, Scheme):
        if value.blocks != tuple(blocks):
            raise EANError(
                f"the scheme is for {describe_blocks(value.blocks)}, but the network has {describe_blocks(blocks)}"
            )
        return value
    if value is None or (isinstance(value, str) and value in ("share-full", "org-full")):
        return Scheme.all_on(blocks)
    if isinstance(value, str) and value == "org":
        return Scheme.all_off(blocks)
    if (file := scheme_file(value)) is not None:
        return Scheme.load(file, blocks=blocks)
    if isinstance(value, str):
        return Scheme.parse(value, blocks=blocks)
    return Scheme(value, tuple(blocks))


def check_attention(value: SchemeLike, attention: str | None) -> None:
    """Refuse a scheme file for a network with another attention than the one that it was found for.

    Args:
        value: as for `as_scheme`; bits and modes are for any attention.
        attention: of the network.

    Raises:
        EANError: with both attentions.
    """
    if (file := scheme_file(value)) is None:
        return
    found_for = read_scheme_file(file).get("attention")
    if found_for is not None and found_for != (attention and Path(attention).name):
        raise EANError(
            f"{value} was found for attention {found_for!r}, but the network has {attention!r}: give --attention "
            f"{found_for}, or the bits themselves to use it all the same"
        )


def as_scheme_of_first_stages(value: SchemeLike, blocks: Sequence[int], *, stages: int) -> Scheme:
    """`as_scheme` for a network of which only the first stages are built; the scheme may leave out the others' bits.

    Args:
        value: as for `as_scheme`; a search of such a network has found a scheme of the built stages alone.
        blocks: of all stages.
        stages: how many are built.

    Returns:
        a scheme of all stages, in which bits that were left out are 0.

    Raises:
        EANError: if it is a scheme of neither.
    """
    try:
        return as_scheme(value, blocks)
    except EANError as error:
        try:
            built = as_scheme(value, blocks[:stages])
        except EANError:
            raise error from None
    return Scheme((*built.bits, *[0] * sum(blocks[stages:])), tuple(blocks))


def scheme_file(value: SchemeLike) -> Path | None:
    """The file that a scheme argument names; None for bits, modes such as "org" and other values.

    Raises:
        EANError: for a name that is neither a mode, a file nor a shipped scheme.
    """
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or value in MODES or not re.search(r"[^01\s,|_]", value):
        return None
    if value.endswith(".json") or os.path.exists(value):  # Path.exists fails for a name that is too long
        return Path(value)
    if (shipped := shipped_scheme(value)) is not None:
        return shipped
    names = [*MODES, *scheme_names()]
    raise EANError(
        f"scheme {value!r} is neither bits (0 and 1) nor an existing scheme.json, nor one of {', '.join(names)}"
        f"{nearest(value, names)}"
    )


def whole_numbers(values: Iterable[int], *, what: str) -> tuple[int, ...]:
    """Values as integers.

    Raises:
        EANError: if they are not an iterable of whole numbers.
    """
    try:
        values = [] if isinstance(values, bytes) else tuple(values)
        numbers = tuple(int(value) for value in values)
        pairs = zip(numbers, values, strict=True)
        if isinstance(values, tuple) and all(number == value or str(number) == value for number, value in pairs):
            return numbers
    except (TypeError, ValueError, OverflowError):
        pass
    raise EANError(f"the {what} of a scheme must be a list of whole numbers, got {shorten(values)}")


def blocks_per_stage(blocks: Sequence[int]) -> tuple[int, ...]:
    """Checked numbers of blocks.

    Raises:
        EANError: if there are none, or they are not positive numbers.
    """
    numbers = whole_numbers(blocks, what="blocks")
    if not numbers or not all(1 <= number <= MAX_BLOCKS for number in numbers):
        raise EANError(f"the blocks of a scheme must be numbers from 1 to {MAX_BLOCKS}, one per stage, got {numbers}")
    return numbers


def describe_blocks(blocks: Sequence[int]) -> str:
    """Blocks per stage as messages have them, such as `18+18+18 blocks`."""
    return f"{'+'.join(map(str, blocks))} blocks"
