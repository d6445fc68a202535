"""Weights behind an address: downloaded to a file once, and read like any other."""

from __future__ import annotations

import hashlib
import http.client
import http.server
import os
import pickle
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ean_core.io.download import fetch
from ean_core.networks.weights_file import locate_weights, weights_identity
from ean_core.utils.errors import EANError
from tests.conftest import ROOT
from tests.helpers.start_weights import TASKS, Load, for_classifier, prefixed, random_state


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path, list[str]]]:
    """The address of a server on this machine, its folder, and what it was asked for; the cache is the test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            asked.append(str(arguments[0]))

        def send_header(self, keyword: str, value: str) -> None:
            promised = keyword == "Content-Length" and "short" in self.path
            super().send_header(keyword, str(int(value) + 9) if promised else value)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder, asked
    server.shutdown()
    server.server_close()


Server = tuple[str, Path, list[str]]


def cached(folder: Path) -> list[str]:
    """Files in the test's cache, but for locks."""
    return [path.name for path in (folder / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]


@TASKS
def test_an_address_is_downloaded_once_and_read_like_a_file(
    server: Server, load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address, folder, asked = server
    state = random_state()
    torch.save({"net": prefixed(state, "module.")}, folder / "w.pth")
    for _ in range(2):
        assert torch.equal(load(f"{address}/w.pth?x=1").state_dict()["conv1.weight"], state["conv1.weight"])
    assert len(asked) == 1
    assert "is not encrypted" in capsys.readouterr().err
    digest = hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()
    assert weights_identity(f"{address}/w.pth?x=1", arch=None) == digest
    (name,) = cached(tmp_path)
    assert name.endswith("-w.pth")


def test_a_downloaded_file_in_a_read_only_folder_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder, _ = server
    (folder / "w.pth").write_bytes(b"weights")
    path = fetch(f"{address}/w.pth")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("ean_core.io.download.FileLock", refuse)
    assert fetch(f"{address}/w.pth") == path


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@TASKS
def test_a_downloaded_file_cannot_run_code(server: Server, load: Load, tmp_path: Path) -> None:
    address, folder, _ = server
    torch.save({"state_dict": random_state(), "evil": Evil(tmp_path / "ran")}, folder / "evil.pth")
    (folder / "raw.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    for name in ("evil.pth", "raw.pth"):
        with pytest.raises(EANError, match=name):
            load(f"{address}/{name}")
    assert not (tmp_path / "ran").exists()


def test_no_part_of_a_segmentor_is_read_by_its_engine(server: Server, tmp_path: Path) -> None:
    """What a config names for a head, or for a backbone of mmsegmentation's own, is read here first."""
    from segmentation.config import read_config
    from segmentation.starting_weights import starting_weights

    address, folder, _ = server
    torch.save({"state_dict": {"conv1.weight": torch.ones(1)}, "evil": Evil(tmp_path / "ran")}, folder / "evil.pth")
    torch.save({"state_dict": {"conv1.weight": torch.ones(1)}}, folder / "good.pth")
    for part in ("decode_head", "backbone"):
        config = read_config(ROOT / "segmentation/configs/ean_se_voc_small.py")
        config.model[part].init_cfg = {"type": "Pretrained", "checkpoint": f"{address}/evil.pth"}
        with pytest.raises(EANError, match="evil.pth holds more than weights and was not loaded"):
            starting_weights(config, None)
        config.model[part].init_cfg.checkpoint = f"{address}/good.pth"
        assert (starting_weights(config, None) is None) == (part == "decode_head")
        assert Path(config.model[part].init_cfg.checkpoint).parent == tmp_path / "cache/hub/checkpoints"
    config.load_from = f"{address}/evil.pth"
    with pytest.raises(EANError, match="evil.pth holds more than weights"):
        starting_weights(config, None)
    assert not (tmp_path / "ran").exists()


def test_downloads_that_fail_leave_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder, _ = server
    for name in ("large.pth", "short.pth", "other.pth"):
        (folder / name).write_bytes(bytes(5000))
    cases = [
        ("none.pth", {}, r"cannot be downloaded \(.*[Nn]ot [Ff]ound.*\): download it yourself and give the file"),
        ("large.pth", {"max_bytes": 4999}, "is larger than"),
        ("short.pth", {}, r"ended after 5,000 of 5,009 bytes|cannot be downloaded"),
        ("other.pth", {"sha256": "00000000"}, "is not the expected file"),
    ]
    for name, options, says in cases:
        with pytest.raises(EANError, match=says):
            fetch(f"{address}/{name}", **options)
    with pytest.raises(EANError, match=r"http://127.0.0.1:1/w.pth cannot be downloaded \(.*refused"):
        fetch("http://127.0.0.1:1/w.pth")
    monkeypatch.setattr(http.client.HTTPResponse, "read", lambda *_: (_ for _ in ()).throw(TimeoutError("timed out")))
    with pytest.raises(EANError, match=r"cannot be downloaded \(timed out\)"):
        fetch(f"{address}/large.pth")
    assert cached(tmp_path) == []


@TASKS
@pytest.mark.parametrize("source", ["torchvision://resnet18", "imagenet"])
def test_torchvisions_weights_without_a_network(
    load: Load, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked: list[str] = []

    def offline(url: str, **_: object) -> None:
        asked.append(url)
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    if load is for_classifier and source == "imagenet":
        pytest.skip("a network alone does not know its name")
    with pytest.raises(EANError, match=r"resnet18-\w+.pth cannot be downloaded \(Name or service .*\): download it"):
        load(source, "resnet18")
    assert asked == ["https://download.pytorch.org/models/resnet18-f37072fd.pth"]


def test_torchvisions_names(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []
    monkeypatch.setattr("ean_core.networks.weights_file.fetch", lambda url, **how: fetched.append((url, how)))
    for name in ("resnet50", "resnet50_nobias", "resnet50.imagenet1k_v2"):
        weights_file_of(name)
    first, same, second = fetched
    assert first == same
    assert first[0].endswith("/resnet50-0676ba61.pth")
    assert first[1] == {"name": "resnet50-0676ba61.pth", "sha256": "0676ba61"}
    assert second[0] != first[0]
    for name in ("resnet20", "resnet51", "resnet50.v9", ""):
        with pytest.raises(EANError, match=f"no public ImageNet weights of {name!r}"):
            weights_file_of(name)


def weights_file_of(name: str) -> None:
    locate_weights(f"torchvision://{name}", arch=None)
