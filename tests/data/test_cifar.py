"""CIFAR's original files are read, and damaged, wrong or harmful pickles are refused."""

from __future__ import annotations

import os
import pickle
import pickletools
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch

from ean_core.data import load_data
from ean_core.data.unpickle import load_pickle
from ean_core.utils.errors import EANError


def test_the_fixture_is_a_python2_pickle(cifar100_root):
    content = (cifar100_root / "cifar-100-python" / "train").read_bytes()
    operations = [(operation.name, argument) for operation, argument, _ in pickletools.genops(content)]
    names = {name for name, _ in operations}
    assert "SHORT_BINSTRING" in names
    assert "BINSTRING" in names
    assert not names & {"BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "STACK_GLOBAL"}
    assert ("GLOBAL", "numpy.core.multiarray _reconstruct") in operations


def test_cifar100(cifar100_root):
    data = load_data("cifar100", cifar100_root, download=False)
    assert data.train.images.shape == (200, 3, 32, 32)
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.tolist() == [i % 100 for i in range(200)]
    assert len(data.test) == 100
    assert data.num_classes == 100
    assert data.classes[7] == "class 7"
    assert data.image_shape == (3, 32, 32)
    assert data.mean == (0.4914, 0.4822, 0.4465)
    assert data.std == (0.2023, 0.1994, 0.2010)
    assert "differ from the original" in data.note
    written = np.random.default_rng(0).integers(0, 256, (200, 3072), dtype=np.uint8)
    assert np.array_equal(data.train.images[5].numpy(), written[5].reshape(3, 32, 32))  # red, green, blue planes


def test_cifar10_joins_its_batches_in_order(cifar10_root):
    data = load_data("cifar10", cifar10_root, download=False)
    assert len(data.train) == 100
    assert len(data.test) == 10
    third = np.random.default_rng(3).integers(0, 256, (20, 3072), dtype=np.uint8)
    assert np.array_equal(data.train.images[40:60].reshape(20, 3072).numpy(), third)


def test_original_files_are_recognised(cifar100_root, monkeypatch):
    from torchvision.datasets import CIFAR100

    from ean_core.data.cifar import _md5

    folder = cifar100_root / "cifar-100-python"
    monkeypatch.setattr(CIFAR100, "train_list", [["train", _md5(folder / "train")]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", _md5(folder / "test")]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": _md5(folder / "meta")})
    assert load_data("cifar100", cifar100_root).note == "original archive"


def test_fingerprint_changes_with_one_pixel(cifar100_root, dump_python2):
    path = cifar100_root / "cifar-100-python" / "test"
    before = load_data("cifar100", cifar100_root).fingerprint
    assert load_data("cifar100", cifar100_root).fingerprint == before
    content = load_pickle(path)
    content["data"][99, 3071] ^= 1
    dump_python2(content, path)
    assert load_data("cifar100", cifar100_root).fingerprint != before


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_any_protocol_can_be_read(tmp_path, protocol):
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({"data": array, "labels": [1, 2], "raw": b"\xff\x00"}, protocol=protocol))
    content = load_pickle(path)
    assert np.array_equal(content["data"], array)
    assert content["labels"] == [1, 2]
    assert content["raw"] == b"\xff\x00"


class _Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_runs_a_command_is_refused_and_not_run(cifar100_root, protocol):
    path = cifar100_root / "cifar-100-python" / "train"
    trace = cifar100_root / "trace"
    content = {"data": _Call(os.system, f"touch {trace}"), "fine_labels": [0]}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(EANError, match=r"train asks for (posix|nt)\.system, which image data never needs") as error:
        load_data("cifar100", cifar100_root)
    assert "was not loaded" in str(error.value)
    assert not trace.exists()


@pytest.mark.parametrize("function", [eval, np.load, np.fromfile, getattr], ids=lambda function: function.__name__)
def test_other_functions_are_refused_too(tmp_path, function):
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({"data": _Call(function, "1")}, protocol=4))
    with pytest.raises(EANError, match=rf"asks for \S+{function.__name__},"):
        load_pickle(path)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_truncated_file(cifar100_root, share):
    path = cifar100_root / "cifar-100-python" / "test"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(EANError, match=r"test is truncated or damaged \(.+\): download the file again$"):
        load_data("cifar100", cifar100_root)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data": np.zeros((4, 3072), np.float32)}, r"images as float32 \(4, 3072\) where uint8"),
        ({"data": np.zeros((4, 100), np.uint8)}, r"images as uint8 \(4, 100\)"),
        ({"data": [1, 2]}, "images as list"),
        ({"fine_labels": [0, 1, 2]}, "4 images and 3 labels"),
        ({"fine_labels": [0, 1, 2, 100]}, "labels from 0 to 100 where the archive names 100 classes"),
        ({"fine_labels": [0, 1, 2, -1]}, "labels from -1 to 2"),
        ({"fine_labels": [0, 1, 2, "3"]}, "not a list of integers"),
        ({"data": np.zeros((0, 3072), np.uint8), "fine_labels": []}, "0 images and 0 labels"),
        ({"fine_labels": None}, "has no 'fine_labels' but only"),
    ],
)
def test_files_with_wrong_content(cifar100_root, dump_python2, change, sentence):
    content = {"data": np.zeros((4, 3072), np.uint8), "fine_labels": [0, 1, 2, 3], **change}
    content = {key: value for key, value in content.items() if value is not None}
    dump_python2(content, cifar100_root / "cifar-100-python" / "train")
    with pytest.raises(EANError, match=sentence):
        load_data("cifar100", cifar100_root)


def test_wrong_class_names_and_wrong_object(cifar100_root, dump_python2):
    meta = cifar100_root / "cifar-100-python" / "meta"
    dump_python2({"coarse_label_names": ["fish"]}, meta)
    with pytest.raises(EANError, match=r"meta has no list 'fine_label_names'"):
        load_data("cifar100", cifar100_root)
    dump_python2([1, 2], meta)
    with pytest.raises(EANError, match=r"meta holds a list where a dictionary"):
        load_data("cifar100", cifar100_root)


def test_a_missing_file_is_named(cifar100_root):
    (cifar100_root / "cifar-100-python" / "test").unlink()
    with pytest.raises(EANError, match=r"cifar-100-python/test is missing: put it there"):
        load_data("cifar100", cifar100_root)


def test_missing_folder_without_download(tmp_path):
    with pytest.raises(EANError, match=r"no cifar-10-batches-py in .*--data-root, or allow the download"):
        load_data("cifar10", tmp_path / "nowhere", download=False)


def test_missing_folder_and_no_network(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    def fail(self):
        raise URLError("no route to host")

    monkeypatch.setattr(CIFAR10, "download", fail)
    with pytest.raises(EANError, match=r"no cifar-100-python in .*data, and its download failed \(.*no route") as error:
        load_data("cifar100", tmp_path / "data")
    assert str(tmp_path) in str(error.value)
    assert "--data-root" in str(error.value)
    assert list((tmp_path / "data").iterdir()) == []  # nothing half done is left


def test_missing_folder_is_downloaded_whole(tmp_path, cifar100_root, monkeypatch):
    from torchvision.datasets import CIFAR10, CIFAR100

    def copy(self):
        (cifar100_root / "cifar-100-python").rename(Path(self.root) / "cifar-100-python")

    monkeypatch.setattr(CIFAR10, "download", copy)
    monkeypatch.setattr(CIFAR100, "_check_integrity", lambda self: True)
    monkeypatch.setattr(CIFAR100, "_load_meta", lambda self: None)
    data = load_data("cifar100", tmp_path / "new")
    assert len(data.train) == 200
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cifar-100-python"]


def test_image_size_cannot_be_chosen(cifar100_root):
    assert load_data("cifar100", cifar100_root, image_size=32).image_shape == (3, 32, 32)
    with pytest.raises(EANError, match=r"cifar100 images are 32x32 and image_size=64 was given"):
        load_data("cifar100", cifar100_root, image_size=64)


class _Reduced:
    """Pickled as a call with a state of its own."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments, state)

    def __reduce__(self):
        return self.parts


_OBJECT_FIELD = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 63)
_TO_RECONSTRUCT = np.empty(0).__reduce__()[0]


@pytest.mark.parametrize(
    "evil",
    [
        _Reduced(np.dtype, "V8", False, True, state=_OBJECT_FIELD),  # its values would be taken for addresses
        _Reduced(np.dtype, "O", False, True),
        _Reduced(_TO_RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (2,), np.dtype("O"), False, b"\x10" * 16)),
        _Reduced(_TO_RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (10**9,), np.dtype("u1"), False, b"abc")),
        _Reduced(_TO_RECONSTRUCT, np.ndarray, (0,), b"b", state=(1, (-1,), np.dtype("u1"), False, b"abc")),
        np.array([1, "a"], dtype=object),
        np.zeros(2, dtype=[("a", "u1"), ("b", "O")]),
        np.array(["2020"], dtype="datetime64[D]"),
        np.dtype,
    ],
)
def test_structured_and_object_types_are_refused(tmp_path, evil):
    for protocol in (2, 4):
        (tmp_path / "file").write_bytes(pickle.dumps({"data": evil}, protocol=protocol))
        with pytest.raises(EANError, match=r"file is truncated or damaged"):
            load_pickle(tmp_path / "file")


def test_a_pickles_memory_is_no_larger_than_it_is(tmp_path):
    """Python takes room for all numbers up to the one that is given: here for 2^32."""
    content = pickle.dumps({"a": [1]}, protocol=2)
    (tmp_path / "file").write_bytes(content[:2] + b"Nr\xff\xff\xff\xff0" + content[2:])
    with pytest.raises(EANError, match="its memory has holes"):
        load_pickle(tmp_path / "file")


def test_arrays_of_all_orders_come_out(tmp_path):
    arrays = {"f": np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)), "b": np.arange(4, dtype=">i4")}
    arrays |= {"c": np.arange(3.0), "e": np.zeros((0, 3), np.uint8), "t": np.array([True, False])}
    for protocol in (2, 4, 5):
        (tmp_path / "file").write_bytes(pickle.dumps(arrays, protocol=protocol))
        for name, value in load_pickle(tmp_path / "file").items():
            np.testing.assert_array_equal(value, arrays[name])
            assert value.flags.writeable
