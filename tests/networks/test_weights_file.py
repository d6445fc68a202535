"""Weights to start from: one reader for all tasks, whatever wrote the file and wherever it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from crowd_counting.model.counter_file import save_counter
from crowd_counting.model.network import CounterSpec
from crowd_counting.model.pretrained import load_initial_weights, make_spec, read_initial_weights
from crowd_counting.recipe import ModelRecipe
from ean_core import create_model, load_torchvision_weights
from ean_core.io.safe_load import load_tensors
from ean_core.io.safetensors_file import write_safetensors
from ean_core.networks.network_file import ModelSpec, save_network
from ean_core.networks.pretrained import LoadReport, load_weights
from ean_core.networks.trunk_spec import TrunkSpec
from ean_core.networks.weights_file import as_weights, bare_name, read_weights
from ean_core.utils.errors import EANError
from segmentation.backbone import EANResNet
from tests.helpers.start_weights import TASKS, Load, State, for_counter, for_segmentor, prefixed, random_state
from tests.helpers.tiny_files import tiny_arch  # noqa: F401 (a fixture)


def inside(state: State, part: str) -> State:
    """As when torch.compile was given a part of the network."""
    return {name.replace(part, f"{part}_orig_mod.", 1): value for name, value in state.items()}


FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "DataParallel": lambda state: prefixed(state, "module."),
    "torch.compile": lambda state: prefixed(state, "_orig_mod."),
    "compiled, then parallel": lambda state: {"state_dict": prefixed(state, "module._orig_mod.")},
    "parallel, then compiled": lambda state: {"model": prefixed(state, "_orig_mod.module.")},
    "compiled blocks": lambda state: inside(state, "layer1.0."),
    "Lightning": lambda state: {"state_dict": prefixed(state, "model."), "epoch": 3, "global_step": 10},
    "mmsegmentation": lambda state: {"meta": {"iter": 1}, "state_dict": prefixed(state, "backbone.")},
    "nested": lambda state: {"model": {"state_dict": prefixed(state, "module.model.backbone.")}},
    "net": lambda state: {"net": state, "acc": 93.0, "epoch": 1},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}, "loss": 0.1},
    "params": lambda state: {"params": state},
    "AveragedModel": lambda state: {"n_averaged": torch.tensor(3), **prefixed(state, "module.")},
    "half precision": lambda state: {name: one.half() if one.ndim else one for name, one in state.items()},
}


@TASKS
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_in_all_tasks(tmp_path: Path, load: Load, form: str) -> None:
    state = random_state()
    torch.save(FORMS[form](state), tmp_path / "w.pth")
    own = load(str(tmp_path / "w.pth")).state_dict()
    trunk = [name for name in state if not name.startswith("fc.")]
    assert len(trunk) > 100
    for name in trunk:
        torch.testing.assert_close(own[name], state[name], rtol=1e-3, atol=1e-4)


@TASKS
@pytest.mark.parametrize("form", ["plain", "torch.compile", "Lightning"])
def test_safetensors_too(tmp_path: Path, load: Load, form: str) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = random_state()
    content = FORMS[form](state)
    save_file(dict(content.get("state_dict", content)), tmp_path / "w.safetensors")
    assert torch.equal(load(str(tmp_path / "w.safetensors")).state_dict()["conv1.weight"], state["conv1.weight"])


def test_averaged_weights_are_preferred_and_said() -> None:
    state, averaged = random_state(), random_state()
    for key in ("state_dict_ema", "model_ema", "ema"):
        weights = as_weights({"state_dict": state, key: averaged}, source="x")
        assert torch.equal(weights.tensors["conv1.weight"], averaged["conv1.weight"])
        report = load_weights(create_model("resnet20"), weights)
        assert f"the averaged weights under {key!r} were used" in str(report)
    assert as_weights({"state_dict": state, "ema": None}, source="x").averaged is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("module._orig_mod.model.backbone.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("layer1._orig_mod.0.conv1.weight", "layer1.0.conv1.weight"),
        ("layer1.attention.module.fc.weight", "layer1.attention.module.fc.weight"),  # a name inside stays
        ("model", "model"),
    ],
)
def test_bare_names(given: str, name: str) -> None:
    assert bare_name(given) == name


def test_two_networks_in_one_file_are_not_mixed() -> None:
    state = random_state()
    with pytest.raises(
        EANError, match=r"two tensors called conv1.weight \(model.conv1.weight and backbone.conv1.weight\)"
    ):
        as_weights({**prefixed(state, "model."), **prefixed(state, "backbone.")}, source="x")


# -- what is refused, by the same sentence in all tasks ---------------------------------------------------------------


def sentence(load: Load, state: Any, folder: Path, arch: str = "resnet20") -> str:
    torch.save(state, folder / "w.pth")
    with pytest.raises(EANError) as error:
        load(str(folder / "w.pth"), arch)
    return str(error.value).replace(str(folder), "")


@pytest.fixture(scope="module")
def resnet20() -> State:
    return random_state()


@pytest.fixture(scope="module")
def resnet56() -> State:
    """Three times as deep, and else the same: all that a ResNet-20 needs is in it."""
    return random_state("resnet56")


@TASKS
def test_a_deeper_networks_weights(tmp_path: Path, load: Load, resnet56: State) -> None:
    message = sentence(load, resnet56, tmp_path)
    assert "/w.pth holds the weights of another network, a deeper one: it has layer1.3, but the new" in message
    assert "has 3 blocks in layer1" in message


@TASKS
def test_a_stage_more(tmp_path: Path, load: Load, resnet20: State) -> None:
    more = {**resnet20, "layer4.0.conv1.weight": torch.zeros(1)}
    assert "it has layer4.0, but the new network has 3 stages" in sentence(load, more, tmp_path)


@pytest.mark.parametrize("load", [for_counter, for_segmentor])
def test_a_deeper_stage_that_was_not_built(tmp_path: Path, load: Load) -> None:
    """A ResNet-34 differs from a ResNet-18 in the stage that a counter is built without, too."""
    deeper = random_state("resnet18_nobias") | {"layer4.2.conv1.weight": torch.zeros(512, 512, 3, 3)}
    message = sentence(load, deeper, tmp_path, "resnet18_nobias")
    assert "it has layer4.2, but the new network has 2 blocks in layer4" in message


@TASKS
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(tmp_path: Path, load: Load, resnet20: State, value: float) -> None:
    bad = resnet20["layer2.0.conv1.weight"].clone()
    bad[0, 0, 0, 0] = value
    message = sentence(load, {"state_dict": {**resnet20, "layer2.0.conv1.weight": bad}}, tmp_path)
    assert "not finite, the first in " in message
    assert "layer2.0.conv1.weight" in message


@TASKS
def test_shapes_missing_tensors_and_strangers(tmp_path: Path, load: Load, resnet20: State) -> None:
    narrow = {**resnet20, "layer2.0.conv1.weight": torch.zeros(32, 16, 1, 1)}
    says = "1 mismatched tensor, the first is layer2.0.conv1.weight ((32, 16, 1, 1) in the file, (32, 16, 3, 3) in"
    assert says in sentence(load, narrow, tmp_path)
    fewer = {name: value for name, value in resnet20.items() if not name.startswith("layer3.1.bn1")}
    assert "the first is layer3.1.bn1.weight (missing in the file, (64,) in" in sentence(load, fewer, tmp_path)
    for name in (
        "layer1.0.se.fc1.weight",
        "conv1.bias",
        "layer2.1.downsample.0.weight",
    ):  # they change what is computed
        assert f"it has {name}, which" in sentence(load, {**resnet20, name: torch.ones(64)}, tmp_path)
    whole = {**resnet20, "conv1.weight": torch.ones(16, 3, 3, 3, dtype=torch.int8)}
    assert "(16, 3, 3, 3) of torch.int8 in the file" in sentence(load, whole, tmp_path)


@TASKS
@pytest.mark.parametrize("content", [{"epoch": 3}, {}, [1], {"state_dict": {"conv1.weight": 3}}, {"format": "other"}])
def test_files_without_weights(tmp_path: Path, load: Load, content: Any) -> None:
    assert "/w.pth holds no weights of a network: give" in sentence(load, content, tmp_path, "resnet20")


@TASKS
def test_sources_that_are_no_files(tmp_path: Path, load: Load) -> None:
    for source, says in ((tmp_path / "none.pth", "does not exist: give a file of weights"), (tmp_path, "is a folder")):
        with pytest.raises(EANError, match=says):
            load(str(source))
    for source in ("s3://bucket/w.pth", "file:///etc/passwd", "open-mmlab://resnet50_v1c"):
        with pytest.raises(EANError, match="cannot be downloaded: give a URL that begins with https://"):
            load(source)


def test_nothing_changes_when_weights_are_refused(resnet56: State) -> None:
    network = create_model("resnet20")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(EANError, match="a deeper one"):
        load_torchvision_weights(network, resnet56)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


# -- our own files, from task to task ---------------------------------------------------------------------------------


def reports(source: Path, arch: str, attention: str | None, scheme: str | None) -> Iterator[LoadReport | str]:
    """What each task says of a file."""
    network = create_model(arch, num_classes=3, attention=attention, scheme=scheme if attention else None)
    spec = TrunkSpec(arch, attention, scheme=scheme)
    yield load_weights(network, read_weights(source), spec=spec)
    start = read_initial_weights(str(source), arch=arch)
    counter = make_spec(ModelRecipe(arch=arch, attention=attention, scheme=scheme, head_channels=8), start)
    yield load_initial_weights(counter.build().trunk, start, counter)
    yield EANResNet(arch, attention, scheme=scheme).load(str(source))


@pytest.mark.parametrize("task", ["classifier", "counter", "safetensors"])
def test_any_tasks_file_starts_any_task(tmp_path: Path, tiny_arch: str, task: str) -> None:  # noqa: F811
    path, scheme = tmp_path / "net.pth", "11 0 1"
    info = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    if task == "counter":
        spec = CounterSpec(tiny_arch, "se", scheme="1101", head_channels=8, stride=4)
        save_counter(path, spec.build(), spec, **info)
    else:
        model = ModelSpec(tiny_arch, "se", num_classes=5, scheme="1101")
        save_network(path, model.build(), model, **info)
    if task == "safetensors":
        content = load_tensors(path)
        write_safetensors(path := path.with_suffix(".safetensors"), content.pop("state_dict"), content)
    for report in reports(path, tiny_arch, "se", scheme):
        assert "initial value: layer1" not in str(report)
    assert read_initial_weights(str(path), arch=None).std == (0.4, 0.5, 0.6)


def test_attention_that_differs_is_refused_or_said(tmp_path: Path, tiny_arch: str) -> None:  # noqa: F811
    model = ModelSpec(tiny_arch, "se", num_classes=5, scheme="1101", pruned=True)
    save_network(path := tmp_path / "net.pth", model.build(), model, mean=[0.5] * 3, std=[0.2] * 3)
    for report in reports(path, tiny_arch, "se", "1001"):
        assert "it was trained with the connections 11 | 0 | 1, but the network has 10 | 0 | 1" in str(report)
    plain = ModelSpec(tiny_arch, num_classes=5)
    save_network(tmp_path / "org.pth", plain.build(), plain, mean=[0.5] * 3, std=[0.2] * 3)
    for report in reports(tmp_path / "org.pth", tiny_arch, "se", "1101"):
        assert "left at their initial value: layer1.attention, " in str(report)
    with pytest.raises(EANError, match="has attention in .*, but the new network also has layer2.attention"):
        next(reports(path, tiny_arch, "se", "1111"))
    with pytest.raises(EANError, match=r"with attention se \(one module per stage\), but the new network has sge"):
        next(reports(path, tiny_arch, "sge", "1101"))


@pytest.mark.parametrize(("name", "value"), [("arch", 3), ("attention", 3), ("attention_options", []), ("scheme", 1.0)])
def test_damaged_files_of_ours(tmp_path: Path, tiny_arch: str, name: str, value: object) -> None:  # noqa: F811
    model = ModelSpec(tiny_arch, "se", num_classes=5)
    save_network(path := tmp_path / "net.pth", model.build(), model)
    content = load_tensors(path)
    content["model"][name] = value
    torch.save(content, path)
    with pytest.raises(EANError, match=rf"net.pth.*{name}"):
        read_weights(path)


@pytest.mark.parametrize(
    ("mean", "std"), [([0.5], [0.5]), ([0.5] * 3, [0.0] * 3), ("abc", [1.0] * 3), ([0.5] * 3, [float("nan")] * 3)]
)
def test_the_images_mean_and_deviation_are_checked(mean: Any, std: Any) -> None:
    content = {"format": "ean-network-1", "model": {"arch": "resnet20"}, "state_dict": random_state()}
    with pytest.raises(EANError, match="mean|std"):
        as_weights({**content, "mean": mean, "std": std}, source="x").normalization  # noqa: B018
