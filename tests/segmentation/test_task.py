"""The pipeline over segmentors: scores against mmsegmentation's own, resuming, retraining, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.model import revert_sync_batchnorm

from ean_core import create_model
from ean_core.benchmark.per_block import network_of_config
from ean_core.io.records import read_record
from ean_core.networks.base import SchemeWarning
from ean_core.pipeline.comparison.compare import Comparison
from ean_core.pipeline.job import Job
from ean_core.pipeline.pipeline import run_comparison, run_pipeline
from ean_core.pipeline.supernet import train_supernet
from ean_core.scheme import Scheme
from ean_core.search.comparison import Budget
from ean_core.search.method_choice import parse_methods
from ean_core.supernet.bn_calibration import batch_norms
from ean_core.supernet.paths import draw_path
from ean_core.training.hooks import ShowProgress
from ean_core.utils.errors import EANError
from segmentation.config import read_config
from segmentation.data.search_split import draw
from segmentation.evaluation import score
from segmentation.hooks import DrawPath
from segmentation.inference import Segmentor
from segmentation.model.logits_network import Logits
from segmentation.search_job import start_task
from segmentation.task import SegmentationTask
from segmentation.third_party import register_all_modules
from tests.helpers.killing import Killed, kill_at
from tests.helpers.mobile_trunk import mobile_arch
from tests.helpers.quick_runs import quick_runs  # noqa: F401
from tests.helpers.ranks import two_forks
from tests.helpers.search_of_two import check_search, search_and_train
from tests.helpers.tiny_recipe import check_same_weights, ean_directory
from tests.segmentation.conftest import CONFIGS, SMALL, TINY

__all__ = ["mobile_arch"]

SECTIONS = """
_base_ = {base!r}
data = dict(val_share=0.4)
supernet = dict(train_cfg=dict(max_iters=4))
search = dict(steps=4, options=dict(schemes_per_step=2))
retrain = ["org", "ean"]
"""
OPTIONS = {**{name: value for name, value in TINY.items() if "scheme" not in name}, "train_cfg.max_iters": 2}


def make_job(
    root: Path,
    directory: Path,
    *,
    data: Path | None = None,
    resume: bool = False,
    launcher: str = "none",
    text: str = SECTIONS,
    **options: Any,
) -> Job:
    """A job of the config root/tiny.py, which is written, on the images in root/data or `data`."""
    root.mkdir(exist_ok=True)
    path = root / "tiny.py"
    path.write_text(text.format(base=str(SMALL)))
    given = {**OPTIONS, **{key.replace("__", "."): value for key, value in options.items()}}
    task, _ = start_task(read_config(path, given, data_root=str(data or root / "data")), {})
    return Job(task, directory, resume=resume, launcher=launcher)


def random_supernet(task: SegmentationTask) -> Logits:
    """An untrained supernet whose paths differ."""
    torch.manual_seed(0)
    network = Logits(revert_sync_batchnorm(task.spec().build(task.config)))
    for norm in batch_norms(network):
        norm.running_mean.normal_(0, 0.3)
        norm.weight.data.uniform_(0.5, 2)
    return network.eval()


def test_scores_equal_mmsegmentations(voc: Path, tmp_path: Path) -> None:
    """Image by image through the segmentor's own test step; the images that are held out score the schemes."""
    task = make_job(tmp_path, tmp_path / "run").task
    supernet, schemes = random_supernet(task), ("101011100", "101011111", "001000001")
    held_out = draw(5, share=0.4, seed=0)
    assert task.split.held_out == held_out
    assert len(held_out) == task.count_validation_images() == 2
    config = task.config.copy()
    config.test_dataloader = {**config.val_dataloader, "dataset": {**task.split.val_dataset, "indices": list(held_out)}}
    segmentor = task.spec().build(config)
    segmentor.backbone, segmentor.decode_head = supernet.backbone, supernet.decode_head
    wanted = []
    for scheme in schemes:
        supernet.set_scheme(scheme)
        wanted.append(score(config, segmentor.eval())["mIoU"])
    assert len(set(wanted)) > 1
    scores = task.make_scorer(supernet)([Scheme.parse(scheme, blocks=(3, 3, 3)) for scheme in schemes])
    assert scores == pytest.approx(wanted, abs=0.2)  # folding may turn a pixel


def test_the_supernet_does_not_see_what_scores_schemes(voc: Path, tmp_path: Path) -> None:
    split = make_job(tmp_path, tmp_path / "run").task.split
    config = read_config(tmp_path / "tiny.py", OPTIONS, data_root=str(tmp_path / "data"))
    trains = split.supernet_dataset(config).indices
    assert sorted([*trains, *split.held_out]) == list(range(5))
    assert draw(5, share=0.4, seed=1) != split.held_out or draw(5, share=0.4, seed=2) != split.held_out


def test_calibration_includes_the_heads_statistics(voc: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, tmp_path / "run", search__bn_images=3, search__bn_batch_size=2)
    supernet, scheme = random_supernet(job.task), Scheme.all_on((3, 3, 3))
    plain = make_job(tmp_path, tmp_path / "run").task.make_scorer(supernet)([scheme])
    head = next(norm for norm in batch_norms(supernet.decode_head))
    before, seen = head.running_mean.clone(), []
    head.register_forward_hook(lambda norm, *_: seen.append(norm.training))
    assert job.task.make_scorer(supernet)([scheme]) != plain
    assert seen[:1] == [True]
    assert torch.equal(head.running_mean, before)


def test_interrupted_anywhere_and_resumed_equals_uninterrupted(
    voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, recwarn: Any
) -> None:
    straight = run_pipeline(make_job(tmp_path, tmp_path / "straight"))
    printed = capsys.readouterr().out
    assert "test mean IoU %" in printed
    drawn: list[tuple[int, Scheme]] = []
    original = DrawPath.before_train_iter

    def draw_and_note(self: DrawPath, runner: Any, *rest: Any, **more: Any) -> None:
        original(self, runner, *rest, **more)
        drawn.append((runner.iter, runner.model.backbone.network.scheme))

    for resume, number in ((False, 3), (True, 3)):  # in the supernet after its saved second step; and in Org
        with monkeypatch.context() as patch:
            patch.setattr(DrawPath, "before_train_iter", draw_and_note)
            kill_at(patch, ShowProgress, "after_train_iter", number, done=True)
            with pytest.raises(Killed):
                run_pipeline(make_job(tmp_path, tmp_path / "stopped", resume=resume))
    resumed = run_pipeline(make_job(tmp_path, tmp_path / "stopped", resume=True))
    assert {step for step, _ in drawn} == {0, 1, 2, 3}
    assert all(path == draw_path((3, 3, 3), seed=0, step=step) for step, path in drawn)
    assert resumed.read_text() == straight.read_text()
    found = ean_directory(straight.parent)
    files = ("supernet.pth", "org-seed0/segmentor.pth", f"{found.name}/segmentor.pth")
    check_same_weights(straight.parent, resumed.parent, *files)
    rows = [read_record(path.with_name("summary.json"))["metrics"] for path in (straight, resumed)]
    assert [row["mIoU"] for row in rows[0]] == [row["mIoU"] for row in rows[1]]
    assert not [warning for warning in recwarn if isinstance(warning.message, SchemeWarning)]
    # The tools take the file with the config of the search, whatever its own scheme, and give the same figures.
    config = read_config(tmp_path / "tiny.py", OPTIONS, data_root=str(tmp_path / "data"))
    assert config.model.backbone.scheme != Scheme.load(straight).text
    segmentor = Segmentor(config, found / "segmentor.pth", device="cpu")
    assert score(config, segmentor.model)["mIoU"] == pytest.approx(rows[0][1]["mIoU"]["mean"])


def test_comparison_with_darts(voc: Path, tmp_path: Path) -> None:
    budget = Budget(evaluations=4, proposals=4, samples=2)
    what = Comparison(parse_methods(["random,darts"]), 1, budget, exhaustive=False)
    metrics = read_record(run_comparison(make_job(tmp_path, tmp_path / "run"), what))["metrics"]
    assert [run["method"] for run in metrics["runs"]] == ["random", "darts"]


def test_a_gradient_is_that_of_the_loss(voc: Path, tmp_path: Path) -> None:
    task = make_job(tmp_path, tmp_path / "run").task
    gradient = task.make_gradient(random_supernet(task), images=2, seed=0)
    a = np.full(9, 0.4)
    _, slope = gradient(a, step=0)
    for bit in (0, 8):
        step = np.eye(9)[bit] * 0.01
        numeric = (gradient(a + step, step=0)[0] - gradient(a - step, step=0)[0]) / 0.02
        assert slope[bit] == pytest.approx(numeric, rel=0.05, abs=2e-3)


def test_the_network_of_a_latency_table() -> None:
    network, names = network_of_config(str(CONFIGS / "ean_se_demo.py"))
    assert names == {"arch": "resnet20", "attention": "se", "options": {}, "sharing": "stage", "model": "segmentor"}
    assert (type(network), network.scheme.connections) == (Logits, 9)


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        (SECTIONS.replace("data = dict(val_share=0.4)", ""), {}, "validates on its test images, and schemes must not"),
        (SECTIONS, {"data__val_share": 1.5}, "data.val_share must lie between 0 and 1, got 1.5"),
        (SECTIONS, {"search__stepz": 3}, "unknown field 'stepz' in section 'search' of"),
        (SECTIONS.replace("=4))", "=4), tran=dict())"), {}, "supernet of .* must be a dictionary of the config"),
        (SECTIONS, {"model__test_cfg__mode": "slide"}, "tests in sliding windows, and a search scores whole images"),
        (SECTIONS, {"model__backbone__type": "ResNetV1c"}, "has the backbone 'ResNetV1c', which has no connections"),
    ],
)
def test_mistakes_have_their_sentences(voc: Path, tmp_path: Path, text: str, options: dict, sentence: str) -> None:
    with pytest.raises(EANError, match=sentence):
        make_job(tmp_path, tmp_path / "run", text=text, **options)
    assert not (tmp_path / "run").exists()


def test_missing_data_and_no_search(voc: Path, tmp_path: Path) -> None:
    with pytest.raises(EANError, match="is not a folder: expected Pascal VOC's layout"):
        start_task(read_config(SMALL, OPTIONS, data_root=str(tmp_path / "nowhere")), {})
    with pytest.raises(EANError, match="4 bits but the network needs 9"):
        start_task(read_config(SMALL, OPTIONS, data_root=str(tmp_path / "nowhere")), {}, schemes=["0101"])
    plain = make_job(tmp_path, tmp_path / "run", text="_base_ = {base!r}\ndata = dict(val_share=0.4)")
    with pytest.raises(EANError, match="no supernet and search sections"):
        run_pipeline(plain)


def test_mean_masks_stand_in_for_unconnected_calls(voc: Path, tmp_path: Path) -> None:
    job = make_job(tmp_path, tmp_path / "run", search__unconnected="mean")
    supernet = job.task.load_supernet(train_supernet(job))
    assert all(stage.mean_masks is not None for stage in supernet.stages)
    assert any(bool((stage.mean_masks.steps > 0).any()) for stage in supernet.stages)
    assert len(job.task.make_scorer(supernet)([Scheme.all_off((3, 3, 3))])) == 1
    assert job.task.spec(scheme="1" * 9).unconnected == "identity"


def search_in_two(launcher: str, rank: int, directory: Path) -> None:
    """One of two processes of a search."""
    register_all_modules(init_default_scope=True)
    job = make_job(directory / f"own{rank}", directory / "two", data=directory / "data", launcher=launcher)
    search_and_train(job, rank, directory)


@pytest.mark.slow
def test_two_processes_search_as_one(voc: Path, tmp_path: Path) -> None:
    """Each trains on its part, both score alike and as a single process scores, and the first one writes."""
    two_forks(search_in_two, tmp_path)
    check_search(make_job(tmp_path, tmp_path / "alone"), tmp_path)


def test_a_search_starts_from_public_weights(
    voc: Path, mobile_arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a package have a file and no name of one; the run is identified by "imagenet"."""
    path = tmp_path / "public.pth"
    torch.save(create_model(mobile_arch, num_classes=0).state_dict(), path)
    monkeypatch.setattr("ean_core.networks.timm_weights.local_weights", lambda name: (path, "package of weights"))
    monkeypatch.setattr("ean_core.networks.timm_weights.normalization", lambda *_: ((0.5,) * 3, (0.5,) * 3))
    backbone = {
        "arch": mobile_arch,
        "pool": 1,
        "norm_cfg": {"type": "BN"},
        "init_cfg": {"type": "Pretrained", "checkpoint": "imagenet"},
    }
    options = {f"model__backbone__{name}": value for name, value in backbone.items()}
    head = {"model__decode_head__in_channels": 16, "model__decode_head__in_index": 2}
    job = make_job(tmp_path, tmp_path / "run", search__unconnected="mean", **options, **head)
    assert job.task.starting_weights() == {"weights": "imagenet"}
    assert all(stage.mean_masks.masks.max() < 1 for stage in job.task.build(job.task.spec()).stages)
