"""Every recipe builds, at its full size and over the paper's schemes; the full-size ones take a training step."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS, OPTIM_WRAPPERS
from mmseg.structures import SegDataSample

from ean_core.networks import count_parameters, create_model
from ean_core.scheme import Scheme
from ean_core.utils.errors import EANError
from segmentation.benchmark import build_segmentors
from segmentation.config import check_fields, read_config
from segmentation.job import network_label
from tests.segmentation.conftest import CONFIGS

FILES = sorted(CONFIGS.glob("*.py"))
FULL = [file for file in FILES if not any(word in file.stem for word in ("small", "demo", "lite0"))]


def test_the_recipes_of_the_paper_are_all_there():
    names = {file.stem for file in FILES}
    networks = ["org", *(f"{kind}_{name}" for kind in ("share_full", "ean") for name in ("se", "sge", "dia"))]
    for network, setup in itertools.product(networks, ("voc", "voc_aug", "voc_deeplabv3plus")):
        assert f"{network}_{setup}" in names
    assert {"org_voc_small", "share_full_se_voc_small", "ean_se_voc_small", "ean_se_demo"} <= names


def test_ones_own_attention_keeps_its_name():
    full = Scheme.all_on((1, 2))
    network = SimpleNamespace(sharing="stage", scheme=full, stages_blocks=full.blocks)
    names = {"sge": "SGE", "gate": "gate", "path/gate.py:Gate": "Gate"}
    labels = {name: network_label(SimpleNamespace(attention=name, network=network)) for name in names}
    assert labels == {name: f"Share-full-{label}" for name, label in names.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_what_its_name_says(file: Path):
    config = read_config(file)
    with torch.device("meta"):  # the whole network, without its memory
        model = MODELS.build(config.model)
    kind, _, rest = file.stem.replace("share_full", "share-full").partition("_")
    attention = "" if kind == "org" else f"-{rest.split('_')[0].upper()}"
    wanted = {"org": "Org", "share-full": "Share-full", "ean": "EAN"}[kind]
    assert network_label(model.backbone) == wanted + attention
    head, channels = model.decode_head, model.backbone.channels
    one = isinstance(head.in_index, int)
    assert head.in_channels == (channels[head.in_index] if one else [channels[index] for index in head.in_index])
    assert len(((config._filename and Path(config.filename).read_text()) or "").splitlines()) <= 40
    if file in FULL:
        paper = create_model("resnet50", num_classes=0, attention=model.backbone.attention).prune()
        assert count_parameters(model.backbone) <= count_parameters(paper)
        assert config.train_dataloader.dataset.ann_file.endswith("trainaug.txt" if "aug" in file.stem else "train.txt")
        assert type(model.decode_head).__name__ == (
            "DepthwiseSeparableASPPHead" if "deeplab" in file.stem else "PSPHead"
        )
        assert config.param_scheduler[0].end == config.train_cfg.max_iters
        crops = [step.crop_size for step in config.train_dataloader.dataset.pipeline if step.type == "RandomCrop"]
        assert [tuple(config.model.data_preprocessor.size)] == [tuple(crop) for crop in crops] == [(480, 480)]


def test_bases_are_at_most_three_levels_deep():
    def depth(file: Path) -> int:
        scope: dict = {}
        lines = [line for line in file.read_text().splitlines() if line.startswith("_base_")]
        exec("\n".join(lines), scope)
        bases = scope.get("_base_", [])
        return 1 + max(
            (depth(file.parent / base) for base in ([bases] if isinstance(bases, str) else bases)), default=-1
        )

    assert max(map(depth, FILES)) == 3  # a recipe, its data over the light trunk, that trunk, and how a run goes


def batch(side: int, classes: int) -> dict:
    """Two images with a truth, as the loader gives them."""
    samples = []
    for number in range(2):
        labels = torch.randint(0, classes, (1, side, side), generator=torch.Generator().manual_seed(number))
        labels[:, :4] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        sample.set_metainfo({"img_shape": (side, side), "ori_shape": (side, side)})
        samples.append(sample)
    return {"inputs": [torch.randint(0, 255, (3, side, side)).byte() for _ in range(2)], "data_samples": samples}


@pytest.mark.parametrize(
    ("name", "stride", "wrapper"),
    [("ean_se_voc", 8, "BFloat16OptimWrapper"), ("ean_dia_voc_deeplabv3plus", 16, "OptimWrapper")],
)
def test_a_full_size_recipe_takes_a_training_step(name, stride, wrapper):
    config = read_config(CONFIGS / f"{name}.py")
    config.model.data_preprocessor.size = (48, 48)
    from mmengine.model import revert_sync_batchnorm

    model = revert_sync_batchnorm(MODELS.build(config.model)).train()
    seen = []
    model.backbone.network.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step = OPTIM_WRAPPERS.build({"type": wrapper, "optimizer": optimizer})
    reached = set()
    for key, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, key=key: reached.add(key))
    losses = model.train_step(batch(48, 21), step)
    assert losses["loss"].isfinite()
    assert {"decode.loss_ce", "aux.loss_ce"} <= set(losses)
    assert seen[0].shape[-1] == 48 // stride
    assert seen[0].dtype == (torch.bfloat16 if "BFloat16" in wrapper else torch.float32)
    assert reached == {key for key, _ in model.named_parameters()}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


# -- what is timed ----------------------------------------------------------------------------------------------------


def test_segmentors_of_one_recipe_differ_in_attention_only():
    networks = build_segmentors(CONFIGS / "ean_se_voc_small.py")
    assert list(networks) == ["Org", "Share-full-SE", "EAN-SE"]
    images = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        outputs = {name: network(images) for name, network in networks.items()}
    assert all(output.shape == (2, 2, 48, 64) for output in outputs.values())
    assert not any(network.training for network in networks.values())
    counts = {name: count_parameters(network) for name, network in networks.items()}
    assert counts["Org"] < counts["EAN-SE"] <= counts["Share-full-SE"]
    heads = {count_parameters(network.decode_head) for network in networks.values()}
    assert len(heads) == 1


def test_a_segmentors_logits_are_those_of_mmsegmentation():
    config = read_config(CONFIGS / "ean_se_voc_small.py")
    torch.manual_seed(0)
    segmentor = MODELS.build(config.model).eval()
    logits = build_segmentors(CONFIGS / "ean_se_voc_small.py", seed=0)["EAN-SE"]
    images = torch.randn(1, 3, 48, 64)
    meta = {"img_shape": (48, 64), "ori_shape": (48, 64), "pad_shape": (48, 64), "padding_size": [0] * 4}
    with torch.no_grad():
        assert torch.equal(logits(images), segmentor.encode_decode(images, [meta]))


def test_a_recipe_without_attention_has_nothing_to_compare():
    with pytest.raises(EANError, match="no attention to compare"):
        build_segmentors(CONFIGS / "org_voc_small.py")


def test_configs_that_are_none_get_a_sentence(tmp_path):
    (tmp_path / "broken.py").write_text("model = (")
    (tmp_path / "other.py").write_text("model = dict(arch='resnet20')")
    for name, says in (("broken.py", "cannot be read as a config"), ("other.py", "has no train_dataloader")):
        with pytest.raises(EANError, match=says):
            read_config(tmp_path / name)
    assert Config.fromfile(tmp_path / "other.py")


def test_options_per_parameter_are_not_printed(capfd):
    config = Config(
        dict(
            optim_wrapper=dict(
                type="OptimWrapper",
                optimizer=dict(type="SGD", lr=0.1),
                paramwise_cfg=dict(custom_keys=dict(weight=dict(lr_mult=0.1))),
            ),
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=1),
        )
    )
    check_fields(config, torch.nn.Conv2d(3, 3, 1))
    assert "paramwise" not in "".join(capfd.readouterr())
