"""Files of tensors: nothing in them runs, and what has changed since it was written is not taken."""

from __future__ import annotations

import collections
import contextlib
import pickle
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import get_torch_safe_globals

from ean_core.io.checksum import checksum_of, with_checksum
from ean_core.io.pth_file import write_pth
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import write_safetensors
from ean_core.training.state import log_buffers, plain_state, read_state
from ean_core.utils.errors import EANError
from tests.helpers.crafted_files import Called, crafted_state

STATE = {"state_dict": {"a": torch.ones(2)}, "optimizer": {}, "meta": {"epoch": 2, "iter": 7}}
HUB = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}


def test_the_crafted_file_runs_under_the_lists_of_others(tmp_path: Path) -> None:
    path = crafted_state(tmp_path / "last.pth", tmp_path / "ran")
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        torch.load(path, weights_only=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("old_form", [False, True])
def test_a_crafted_state_is_not_read(tmp_path: Path, old_form: bool) -> None:
    path = crafted_state(tmp_path / "last.pth", tmp_path / "ran")
    if old_form:
        content = {**STATE, "more": Called(torch._tensor._rebuild_from_type_v2, getattr, int, (1, "real"), {})}
        torch.save(content, path, _use_new_zipfile_serialization=False)
    with pytest.raises(EANError, match=r"could run code \(it uses (builtins.getattr|torch._tensor._rebuild)"):
        load_tensors(path)
    with pytest.raises(EANError, match=r"could run code \(it uses torch._tensor._rebuild_from_type_v2"):
        read_state(path)
    assert not (tmp_path / "ran").exists()


def test_names_that_others_have_made_safe_are_not(tmp_path: Path) -> None:
    torch.save({"a": collections.Counter("aab")}, tmp_path / "a.pth")
    with torch.serialization.safe_globals([collections.Counter]):
        with pytest.raises(EANError, match="it uses collections.Counter"):
            load_tensors(tmp_path / "a.pth")
        torch.save({"a": torch.ones(1)}, tmp_path / "b.pth")
        load_tensors(tmp_path / "b.pth")
        assert collections.Counter in torch.serialization.get_safe_globals()  # left as they were


@pytest.mark.parametrize("old_form", [False, True])
def test_weights_of_both_forms_are_read(tmp_path: Path, old_form: bool) -> None:
    weights = {"a": torch.randn(3, 4), "b": torch.nn.Parameter(torch.ones(2)), "n": torch.tensor(5)}
    content = {"state_dict": collections.OrderedDict(weights), "epoch": 3, "names": ["x", None, 1.5, True]}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not old_form)
    loaded = load_tensors(tmp_path / "a.pth")
    assert loaded["names"] == content["names"]
    for name, value in weights.items():
        assert torch.equal(loaded["state_dict"][name], value)


def test_an_old_state_is_read_without_the_classes_in_it(tmp_path: Path) -> None:
    buffer = HistoryBuffer([1.0, float("inf"), 3.0], [1, 2, 1], max_length=7)
    hub = {**HUB, "log_scalars": {"loss": buffer}, "runtime_info": {"x": np.float64(1.5), "n": np.int64(3)}}
    hub["runtime_info"]["array"] = np.arange(6, dtype=">i4").reshape(2, 3)
    torch.save({**STATE, "message_hub": hub}, tmp_path / "last.pth")
    with pytest.raises(EANError, match="is the state for resuming a run"):
        load_tensors(tmp_path / "last.pth")
    read = read_state(tmp_path / "last.pth")["message_hub"]
    assert read["runtime_info"] == {"x": 1.5, "n": 3, "array": [[0, 1, 2], [3, 4, 5]]}
    again = log_buffers(read["log_scalars"])["loss"]
    assert [list(values) for values in again.data] == [list(values) for values in buffer.data]
    assert again.max_length == 7


def test_a_new_state_names_nothing_but_tensors(tmp_path: Path) -> None:
    hub = {**HUB, "log_scalars": {"loss": HistoryBuffer([1.0, 2.0], [1, 1])}, "runtime_info": {"x": np.float32(0.5)}}
    torch.save(plain_state({**STATE, "message_hub": hub}), tmp_path / "last.pth")
    torch.load(tmp_path / "last.pth", weights_only=True)  # with no list of anybody's
    read = read_state(tmp_path / "last.pth")["message_hub"]
    assert list(log_buffers(read["log_scalars"])["loss"].data[0]) == [1.0, 2.0]
    assert read["runtime_info"] == {"x": 0.5}
    with pytest.raises(EANError, match="is the state for resuming a run"):
        load_tensors(tmp_path / "last.pth")


def test_a_config_in_a_state_is_dropped(tmp_path: Path) -> None:
    """MMEngine would run it as a program when it resumes."""
    meta = {**STATE["meta"], "config": "raise RuntimeError"}
    torch.save({**STATE, "meta": meta, "message_hub": HUB}, tmp_path / "last.pth")
    assert "config" not in read_state(tmp_path / "last.pth")["meta"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"meta": {"epoch": -1, "iter": 0}}, "meta.epoch is -1"),
        ({"meta": {"epoch": 1, "iter": "x"}}, "meta.iter is 'x'"),
        ({"state_dict": {"a": 3}}, "a is not a tensor"),
        ({"optimizer": 3}, "optimizer is 3"),
        ({"message_hub": {"log_scalars": [1]}}, "message_hub.log_scalars is"),
    ],
)
def test_damaged_values_of_a_state_are_named(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    torch.save({**STATE, "message_hub": HUB, **change}, tmp_path / "last.pth")
    with pytest.raises(EANError, match=f"last.pth is damaged .*{sentence}"):
        read_state(tmp_path / "last.pth")


def test_every_flipped_bit_of_a_network_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    weights = {"a": torch.arange(300.0), "b": torch.ones(2, 2)}
    write_pth(path, {"format": "ean-network-1", "state_dict": weights, "model": {"scheme": "0101"}})
    whole = path.read_bytes()
    wanted = checksum_of(load_tensors(path))
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with contextlib.suppress(EANError):
            assert checksum_of(load_tensors(path)) == wanted, position  # in padding


def test_a_changed_file_with_right_zip_sums_is_found(tmp_path: Path) -> None:
    content = with_checksum({"format": "f", "state_dict": {"a": torch.ones(3)}, "model": {"scheme": "01"}})
    for name, change in (("a", {"model": {"scheme": "10"}}), ("b", {"state_dict": {"a": torch.zeros(3)}})):
        torch.save({**content, **change}, tmp_path / f"{name}.pth")
        with pytest.raises(EANError, match="has changed since it was written"):
            load_tensors(tmp_path / f"{name}.pth")


def test_safetensors_carry_the_checksum_too(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path, weights = tmp_path / "net.safetensors", {"a": torch.arange(64.0)}
    content = {"format": "f", "model": {"arch": "x", "options": (1, 2)}, "classes": ("a", "b")}
    write_safetensors(path, weights, content)
    assert torch.equal(load_tensors(path)["state_dict"]["a"], weights["a"])
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] + bytes([whole[-10] ^ 1]) + whole[-9:])
    with pytest.raises(EANError, match="has changed since it was written"):
        load_tensors(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    torch.save({"state_dict": {"a": torch.ones(1), "layer.weight": torch.tensor([1.0, value])}}, tmp_path / "a.pth")
    with pytest.raises(EANError, match="not finite, the first in layer.weight"):
        load_tensors(tmp_path / "a.pth")


def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1).expand(10**9)}, tmp_path / "a.pth")
    with pytest.raises(EANError, match="a is larger than its storage"):
        load_tensors(tmp_path / "a.pth")


def test_zips_that_torch_does_not_write_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(EANError, match="torch.save did not write it"):
        load_tensors(tmp_path / "b.pth")


def test_pickles_that_torch_did_not_write_are_refused(tmp_path: Path) -> None:
    for protocol in (0, 2, 4):
        (tmp_path / "a.pth").write_bytes(pickle.dumps({"a": 1}, protocol=protocol))
        with pytest.raises(EANError, match="a.pth is damaged, or is not a file of weights"):
            load_tensors(tmp_path / "a.pth")


def test_threads_read_states_side_by_side(tmp_path: Path) -> None:
    hub = {**HUB, "log_scalars": {"loss": HistoryBuffer([1.0], [1])}}
    torch.save({**STATE, "message_hub": hub}, tmp_path / "last.pth")
    errors: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(10):
                read_state(tmp_path / "last.pth")
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_an_exported_network_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"onnx")
    with pytest.raises(EANError, match="a.onnx is an exported network, which other programs run: give the .pth"):
        load_tensors(tmp_path / "a.onnx")
