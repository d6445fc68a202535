"""Network files: what goes in comes out, and nothing in them can run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.logging import HistoryBuffer

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS
from ean_core.networks.network_file import ModelSpec, load_network, read_network_file, save_network
from ean_core.training.state import read_state


@pytest.mark.parametrize("attention", list(ATTENTIONS))
@pytest.mark.parametrize("sharing", ["stage", "block"])
def test_a_pruned_network_comes_back(tmp_path: Path, attention: str, sharing: str) -> None:
    spec = ModelSpec("resnet20", attention, sharing, "010 000 101", num_classes=5, in_channels=1, pruned=True)
    torch.manual_seed(0)
    net = spec.build().eval()
    save_network(tmp_path / "net.pth", net, spec, classes=list("abcde"), metrics={"top1": 1.5})
    again, content = load_network(tmp_path / "net.pth")
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(again(images), net(images), rtol=0, atol=0)
    assert content["classes"] == list("abcde")
    assert ModelSpec(**content["model"]) == spec
    assert again.layer2.attention is None


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = ModelSpec("resnet20", "se", num_classes=5)
    torch.manual_seed(0)
    net = spec.build()
    save_network(tmp_path / "a.pth", net, spec)
    save_network(tmp_path / "b.pth", net.to(memory_format=torch.channels_last), spec)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_a_file_with_code_is_not_loaded(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"format": "ean-network-1", "evil": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Evil()))
    for name in ("evil.pth", "raw.pth"):
        with pytest.raises(EANError, match=name):
            read_network_file(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_runs_state_is_told_from_a_network(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "message_hub": HistoryBuffer([1.0], [1])}, tmp_path / "last.pth")
    with pytest.raises(EANError, match="last.pth is the state for resuming a run: give the classifier.pth"):
        read_network_file(tmp_path / "last.pth")
    torch.save({"format": "other"}, tmp_path / "net.pth")
    with pytest.raises(EANError, match="net.pth is not the state of a run: give a last.pth, or move it away"):
        read_state(tmp_path / "net.pth")


def test_truncated_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    spec = ModelSpec("resnet20", "se", num_classes=5)
    save_network(tmp_path / "net.pth", spec.build(), spec)
    content = (tmp_path / "net.pth").read_bytes()
    for count in (0, 10, len(content) // 2, len(content) - 7):
        (tmp_path / "cut.pth").write_bytes(content[:count])
        with pytest.raises(EANError, match=r"cut\.pth"):
            load_network(tmp_path / "cut.pth")
    for text in (b"(", b"hello", b".", bytes(range(60))):  # on these torch raises errors of other kinds
        (tmp_path / "text.pth").write_bytes(text)
        with pytest.raises(EANError, match="or is not a file of weights"):
            load_network(tmp_path / "text.pth")
    with pytest.raises(EANError, match="does not exist"):
        load_network(tmp_path / "none.pth")
    with pytest.raises(EANError, match="is a folder"):
        load_network(tmp_path)
    torch.save(create_model("resnet20").state_dict(), tmp_path / "plain.pth")
    with pytest.raises(EANError, match="not a network file of this project"):
        load_network(tmp_path / "plain.pth")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_network(tmp_path / "net.pth", create_model("resnet20"), ModelSpec("resnet29", num_classes=100))
    with pytest.raises(EANError, match="do not fit the network"):
        load_network(tmp_path / "net.pth")
