"""A thousand damaged files through the readers of our own files: a value or a sentence, soon, and nothing else."""

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from crowd_counting.data.density_cache import DensityCache, write_cache
from crowd_counting.data.holdout import load_split, save_split
from crowd_counting.data.points import CrowdData, CrowdImage
from crowd_counting.model.counter_file import load_counter
from ean_core.data.unpickle import load_pickle
from ean_core.inference.loaded_model import load_file
from ean_core.io.checksum import KEY
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import write_safetensors
from ean_core.report import report_all
from ean_core.search.history import read_lines
from ean_core.training.state import plain_state, read_state
from ean_core.utils.errors import EANError
from tests.helpers import report_records as made
from tests.helpers.json_files import json_files
from tests.helpers.tiny_files import tiny_arch, tiny_classifier, tiny_counter

__all__ = ["tiny_arch"]
save = pytest.importorskip("safetensors.torch").save

EACH = 64
LONGEST = 3.0
"""Seconds of this process for one file; the machine may be busy with others."""

NASTY: list[Any] = [
    None,
    True,
    -1,
    0,
    2**70,
    1e308,
    "",
    "x",
    "\x1b[31m",
    [],
    [[]],
    {},
    {"a": None},
    [None] * 3,
    "1" * 99,
]
TEXTS = ["NaN", "Infinity", "1e999", "9" * 5000, "[" * 100_000, '{"a":' * 100_000, '"\\ud800"', "-0", "\x00"]


def a_state() -> dict[str, Any]:
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    hub = {"log_scalars": {"loss": buffer}, "runtime_info": {"x": np.float64(1)}, "resumed_keys": {"loss": True}}
    return {"state_dict": {"a": torch.ones(2)}, "optimizer": {}, "meta": {"epoch": 2, "iter": 7}, "message_hub": hub}


def crowd() -> CrowdData:
    images = [CrowdImage(f"a{n}", Path(f"a{n}.jpg"), (8, 8), torch.tensor([[1.0, 2.0]])) for n in range(4)]
    return CrowdData("made up", tuple(images[:3]), tuple(images[3:]))


def swapped(value: Any, rng: np.random.Generator) -> Any:
    """A copy with something nasty in the place of one of its parts."""
    value = copy.copy(value)
    if not isinstance(value, dict | list) or not value or rng.random() < 0.1:
        return NASTY[rng.integers(len(NASTY))]
    key = list(value)[rng.integers(len(value))] if isinstance(value, dict) else int(rng.integers(len(value)))
    value[key] = swapped(value[key], rng) if rng.random() < 0.8 else NASTY[rng.integers(len(NASTY))]
    return value


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes cut, flipped, filled, or repeated."""
    place, end = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    kind = rng.integers(5)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes(end - place) + content[end:]
    if kind == 2:
        return content[:end] + content[place:]
    changed = bytearray(content)
    for _ in range(1 if kind == 3 else int(rng.integers(1, 20))):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def damaged_json(value: Any, rng: np.random.Generator) -> Iterator[bytes]:
    text = json.dumps(value)
    for _ in range(EACH // 2):
        yield mutated(text.encode(), rng)
    for nasty in TEXTS:
        numbers = [place for place, letter in enumerate(text) if letter.isdigit()]
        place = numbers[rng.integers(len(numbers))]
        yield (text[:place] + nasty + text[place + 1 :]).encode("utf-8", "surrogatepass")
    for _ in range(EACH // 2 - len(TEXTS)):
        yield json.dumps(swapped(value, rng)).encode()


def check(path: Path, content: bytes, read: Callable[[Path], Any]) -> bool:
    """Write and read; whether it was refused. Anything but an `EANError` fails the test."""
    path.write_bytes(content)
    start, message = time.process_time(), None
    try:
        read(path)
    except EANError as error:
        message = str(error)
    assert time.process_time() - start < LONGEST
    assert message is None or path.name in message or path.parent.name in message
    assert message is None or "\n" not in message.strip()
    return message is not None


@pytest.mark.parametrize("name", list(json_files()))
def test_json(tmp_path: Path, name: str) -> None:
    kind = json_files()[name]
    path, rng = tmp_path / name, np.random.default_rng(0)
    path.parent.mkdir(exist_ok=True)
    assert not check(path, json.dumps(kind.value).encode(), kind.read) or name == "run.json"
    refused = sum(check(path, content, kind.read) for content in damaged_json(kind.value, rng))
    assert refused == 0 if kind.forgiving else refused > EACH / 3


def test_records_in_the_report(tmp_path: Path) -> None:
    """A record of every kind, alone, with values swapped: tables, gaps, or a sentence that names it."""
    rng = np.random.default_rng(0)
    for record in made.every_kind(tmp_path / "results").glob("*.json"):
        if record.name == "paper.json":
            continue
        directory = made.new_directory(tmp_path / record.stem)
        value, path = json.loads(record.read_text()), directory / record.name
        assert not check(path, record.read_bytes(), lambda path: report_all(path.parent))
        for _ in range(EACH // 16):
            check(path, json.dumps(swapped(value, rng)).encode(), lambda path: report_all(path.parent))


def test_a_history(tmp_path: Path) -> None:
    line = {"step": 1, "bits": "01", "accuracy": 1.5, "reward": 2.0, "terms": {"a": 1.0}, "p": [0.5], "new": True}
    path, rng = tmp_path / "history.jsonl", np.random.default_rng(0)
    for content in damaged_json(line, rng):
        check(path, json.dumps(line).encode() + b"\n" + content + b"\n", read_lines)


def test_a_split(tmp_path: Path) -> None:
    data, path, rng = crowd(), tmp_path / "split.json", np.random.default_rng(0)
    save_split(path, data, (data.train[:2], data.train[2:]), seed=0)
    for content in damaged_json(json.loads(path.read_text()), rng):
        check(path, content, lambda path: load_split(path, data))


def test_density_maps(tmp_path: Path) -> None:
    data, path, rng = crowd(), tmp_path / "density.h5", np.random.default_rng(0)
    write_cache(path, data, kernel="fixed:4", stride=8)
    content = path.read_bytes()

    def read(path: Path) -> None:
        DensityCache(path, data, kernel="fixed:4", stride=8)

    assert not check(path, content, read)
    for _ in range(EACH):
        changed = mutated(content, rng)
        if changed[:20] == content[:20]:  # without the checksum in front HDF5 itself would be tried
            assert check(path, changed, read) or changed[512:] == content[512:]


def test_density_maps_value_by_value(tmp_path: Path) -> None:
    """As one who writes a file on purpose, or an earlier version did: without its checksum."""
    data, good, path = crowd(), tmp_path / "good.h5", tmp_path / "density.h5"
    write_cache(good, data, kernel="fixed:4", stride=8)

    def refused(change: Callable[[h5py.File], None]) -> bool:
        path.write_bytes(bytes(512) + good.read_bytes()[512:])
        with h5py.File(path, "r+") as file:
            change(file)
        return check(path, path.read_bytes(), lambda path: DensityCache(path, data, kernel="fixed:4", stride=8))

    def attribute(name: str, value: Any, file: h5py.File, of: str = "") -> None:
        (file[of] if of else file).attrs[name] = value

    def replace(value: Any, file: h5py.File) -> None:
        del file["0"]
        file.create_dataset("0", data=value).attrs["image"] = "a0"

    assert not refused(lambda file: None)
    wrong = [0, -1, 2.5, "x", b"", [1, 2], np.zeros((2, 2)), h5py.Empty("f")]
    for value in wrong:
        for name in ("format", "kernel", "stride", "fingerprint"):
            assert refused(partial(attribute, name, value))
        assert refused(partial(attribute, "image", value, of="0"))
    maps = [np.zeros(1, np.float32), np.zeros((2, 2), np.float32), np.full((1, 1), np.nan, np.float32)]
    for value in [*wrong[:-1], *maps, np.full((1, 1), -1, np.float32), np.zeros((1, 1)), np.zeros((1, 1), np.int32)]:
        assert refused(partial(replace, value))
    assert refused(lambda file: file.create_group("x"))
    assert refused(lambda file: file.attrs.__delitem__("kernel"))


def test_a_pickle_of_arrays(tmp_path: Path) -> None:
    path, rng = tmp_path / "train", np.random.default_rng(0)
    value = {"data": np.arange(12, dtype=np.uint8).reshape(3, 4), "labels": [1, 2, 3], "names": ["a", "b"]}
    for protocol in (2, 5):
        content = pickle.dumps(value, protocol=protocol)
        assert not check(path, content, load_pickle)
        for _ in range(EACH):
            check(path, mutated(content, rng), load_pickle)


def test_states(tmp_path: Path) -> None:
    path, rng = tmp_path / "last.pth", np.random.default_rng(0)
    for state in (a_state(), plain_state(a_state())):
        torch.save(state, path)
        content = path.read_bytes()
        assert not check(path, content, read_state)
        for _ in range(EACH // 2):
            check(path, mutated(content, rng), read_state)
        for _ in range(EACH // 2):
            torch.save(swapped(state, rng), path)
            check(path, path.read_bytes(), read_state)


@pytest.mark.parametrize("kind", ["classifier", "counter"])
def test_networks(tiny_arch: str, tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / "net.pth", np.random.default_rng(0)
    make, read = (tiny_classifier, load_file) if kind == "classifier" else (tiny_counter, load_counter)
    content = make(path).read_bytes()
    assert not check(path, content, read)
    whole = load_tensors(path)
    for _ in range(EACH // 2):
        check(path, mutated(content, rng), read)
    for _ in range(EACH // 2):
        torch.save(swapped(whole, rng), path)  # as one who writes a file on purpose: without its checksum
        check(path, path.read_bytes(), read)
    assert KEY not in whole


def test_safetensors(tmp_path: Path) -> None:
    path, rng = tmp_path / "net.safetensors", np.random.default_rng(0)
    write_safetensors(path, {"a": torch.arange(6.0)}, {"format": "f", "model": {"arch": "x"}, "classes": ["a"]})
    content = path.read_bytes()
    for _ in range(EACH):
        check(path, mutated(content, rng), load_tensors)


def test_safetensors_value_by_value(tiny_arch: str, tmp_path: Path) -> None:
    """Every field of the description in the header replaced, without the checksum."""
    path, rng = tmp_path / "net.safetensors", np.random.default_rng(0)
    whole = load_tensors(tiny_classifier(tmp_path / "net.pth"))
    weights = whole.pop("state_dict")

    def write(content: Any) -> bytes:
        return save(weights, {"format": "f", "content": json.dumps(content)})

    assert not check(path, write(whole), load_file)
    for _ in range(EACH // 8):
        check(path, write(swapped(whole, rng)), load_file)
    for name in whole:
        for value in NASTY[::5]:
            check(path, write({**whole, name: value}), load_file)
    for field in whole["model"]:
        for value in NASTY[::6]:
            check(path, write({**whole, "model": {**whole["model"], field: value}}), load_file)
    for header in ({}, {"content": ""}, {"content": "[]"}, {"content": "1" * 5000}, {"content": "[" * 9999}):
        assert check(path, save(weights, header), load_tensors)
