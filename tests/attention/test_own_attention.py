"""A user's own attention class: from a file, from a module, in the commands, and never out of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ean_core import EANError, create_model
from ean_core.attention import ATTENTIONS, Attention, build_attention, load, register
from ean_core.networks.network_file import ModelSpec, load_network, save_network
from ean_core.utils.files import sha256_of
from ean_core.utils.own_code import code_of
from tests.conftest import Script

GATE = """
from pathlib import Path
import torch
from ean_core.attention import Attention
from tests.helpers.quick_runs import quick_runs  # noqa: F401

Path(__file__).with_name("ran").touch()

class Gate(Attention):
    def __init__(self, channels, *, start=0.0):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((channels, 1, 1), start))

    def mask(self, residual, state):
        return torch.sigmoid(residual.mean((2, 3), keepdim=True) * self.scale), state

class Plain(torch.nn.Module):
    def __init__(self, channels, gain=1.0):
        super().__init__()
        self.conv, self.gain = torch.nn.Conv2d(channels, channels, 1), gain

    def forward(self, x):
        return x * self.conv(x).sigmoid() * self.gain

class Shrinks(torch.nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x[:, :, ::2]

number = 3
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The file, in a folder of its own; what it registers is forgotten afterwards."""
    known = dict(ATTENTIONS)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "gate.py").write_text(GATE)
    yield folder / "gate.py"
    ATTENTIONS.clear()
    ATTENTIONS.update(known)


def test_a_class_in_a_file_works_in_all_modes(gate: Path) -> None:
    name = load(f"{gate}:Gate")
    assert name == "gate.py:Gate"  # without the folder: a network file names no place on this machine
    assert load(f"{gate}:Gate") == name
    for sharing in ("stage", "block"):
        net = create_model(
            "resnet20", attention=name, sharing=sharing, scheme="100 010 000", attention_options={"start": 2.0}
        ).eval()
        images = torch.randn(2, 3, 16, 16)
        assert torch.equal(net.prune()(images), net(images))
    x = torch.randn(2, 8, 3, 3)
    mask = torch.sigmoid(2.0 * x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(build_attention(name, 8, options={"start": 2.0})(x)[0].detach(), x * mask)
    with pytest.raises(EANError, match="unknown option of attention 'gate.py:Gate' 'strat'.*did you mean 'start'"):
        build_attention(name, 8, options={"strat": 1.0})


def test_a_plain_module_is_taken_for_what_it_gives(gate: Path) -> None:
    name = load(f"{gate}:Plain")
    module, x = build_attention(name, 8, options={"gain": 3.0}), torch.randn(2, 8, 3, 3)
    assert isinstance(module, Attention)
    torch.testing.assert_close(module(x)[0], x * module.module.conv(x).sigmoid() * 3.0)
    with pytest.raises(EANError, match="turns .2, 8, 4, 4. into .2, 8, 2, 4.: it must keep the shape"):
        build_attention(load(f"{gate}:Shrinks"), 8)(torch.randn(2, 8, 4, 4))


def test_the_decorator_takes_plain_modules_too(gate: Path) -> None:
    @register("identity")
    class Same(torch.nn.Identity):
        def __init__(self, channels: int) -> None:
            super().__init__()

    register("identity")(Same)  # once more is no harm
    x = torch.randn(1, 4, 2, 2)
    assert torch.equal(build_attention("identity", 4)(x)[0], x)
    with pytest.raises(EANError, match="'identity' is registered already, for Same"):
        register("identity")(torch.nn.ReLU)


def test_a_module_of_the_working_directory(gate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.rename(gate.with_name("my_gates_module.py"))
    monkeypatch.chdir(gate.parent)
    assert load("my_gates_module:Gate") == "my_gates_module:Gate"
    assert create_model("resnet20", attention="my_gates_module:Gate").layer1.attention.scale.shape == (16, 1, 1)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nowhere.py:Gate", "attention file nowhere.py does not exist"),
        ("gate.py:gate", "unknown class in gate.py 'gate': choose one of .*did you mean 'Gate'"),
        ("gate.py:number", "is 3: give a class derived from"),
        ("no_such_module:Gate", "no module 'no_such_module' can be imported"),
        ("gate.py:", "unknown class"),
        ("broken.py:Gate", "broken.py cannot be imported .SyntaxError"),
        ("needs.py:Gate", "needs the module 'not_installed_anywhere', which is not there"),
    ],
)
def test_mistakes(gate: Path, monkeypatch: pytest.MonkeyPatch, reference: str, sentence: str) -> None:
    monkeypatch.chdir(gate.parent)
    Path("broken.py").write_text("class Gate(:\n")
    Path("needs.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(EANError, match=sentence):
        load(reference)


def test_the_code_of_ones_own_is_part_of_a_runs_identity(gate: Path) -> None:
    name = load(f"{gate}:Gate")
    assert code_of(name, "se", None) == {"own_code": {name: sha256_of(gate)[:12]}}
    assert code_of("se", None) == {}


def test_two_files_of_one_name_do_not_pass_for_each_other(gate: Path, tmp_path: Path) -> None:
    load(f"{gate}:Gate")
    (tmp_path / "gate.py").write_text(GATE)
    with pytest.raises(EANError, match="'gate.py:Gate' is registered already"):
        load(str(tmp_path / "gate.py:Gate"))


def test_a_checkpoint_never_runs_the_code_it_names(gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = load(f"{gate}:Gate")
    net = create_model("resnet20", num_classes=3, attention=name).eval()
    monkeypatch.chdir(gate.parent)  # where the file could be found
    for attention in (name, "gate:Gate", f"{gate}:Gate", "os:system"):
        save_network(tmp_path / "net.pth", net, ModelSpec("resnet20", attention, num_classes=3))
        ATTENTIONS.pop(name, None)
        gate.with_name("ran").unlink(missing_ok=True)
        with pytest.raises(EANError, match="because a file names it: if you trust .*give --attention .*attention.load"):
            load_network(tmp_path / "net.pth")
        assert not gate.with_name("ran").exists()
    save_network(tmp_path / "net.pth", net, ModelSpec("resnet20", name, num_classes=3))
    load(f"{gate}:Gate")
    again, _ = load_network(tmp_path / "net.pth")
    assert torch.equal(again(torch.ones(1, 3, 8, 8)), net(torch.ones(1, 3, 8, 8)))


def test_the_search_command(script: Script, gate: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(
        'model = dict(arch="resnet20")\n'
        'data = dict(name="digits", train_per_class=6, val_per_class=2)\n'
        "supernet = dict(epochs=1, batch_size=20, lr=0.01)\n"
        "search = dict(steps=2)\n"
        "train = dict(epochs=1, batch_size=20, lr=0.01)\n"
        'retrain = ["share-full"]\n'
    )
    assert script("tools/search.py", "tiny.py", "--attention", "mine/gate.py:Gate", "--work-dir", "w") == 0
    assert json.loads((tmp_path / "w/scheme.json").read_text())["attention"] == "gate.py:Gate"
    checkpoint = next((tmp_path / "w").glob("share-full-*/classifier.pth"))
    assert type(load_network(checkpoint)[0].layer1.attention).__name__ == "Gate"
