"""The page of tools/demo.py as it is served, without a browser."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from ean_core import EANError
from ean_core.inference.demo.page import listen, make_app, private_gradio
from ean_core.inference.loaded_model import load_file
from tests.conftest import Script
from tests.helpers.tiny_files import tiny_arch, tiny_counter

__all__ = ["tiny_arch"]


def test_the_app_keeps_to_itself(tiny_arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="needs the extra [demo]")
    from starlette.testclient import TestClient

    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_gradio() as gradio:
        app = make_app(gradio, [load_file(tiny_counter(tmp_path / "best.pth"), device="cpu")], host="127.0.0.1")
        client = TestClient(app, base_url="http://127.0.0.1")
        page = client.get("/")
        assert page.status_code == 200
        assert page.headers["content-security-policy"].startswith("default-src 'self' ")
        assert "Count a crowd" in page.text
        assert client.get("/", headers={"host": "elsewhere.example"}).status_code == 400
        config = client.get("/config").json()
        assert not config["analytics_enabled"]
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.parent == tmp_path
    assert not folder.exists()


def test_an_address_that_cannot_be_used() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EANError, match=rf"cannot be served at 127.0.0.1, port {port} .*: give another --port"):
            listen("127.0.0.1", port)
    with pytest.raises(EANError, match="port 70000"):
        listen("127.0.0.1", 70000)


def test_without_gradio_a_sentence_names_the_extra(
    script: Script, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ean_core.utils.optional_packages.find_spec", lambda name: None)
    assert script("tools/demo.py") == 2
    assert "the page needs gradio, which is not installed" in (error := capsys.readouterr().err)
    assert '".[demo]"' in error
