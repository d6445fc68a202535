"""Training runs: they learn, they can be killed and resumed, and several processes agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from PIL import Image

from ean_core.io.records import read_record
from ean_core.training.runner import QuietRunner
from ean_core.training.state import read_state
from ean_core.utils.errors import EANError
from segmentation.hooks import CountSeconds, SaveIterations, SidePictures, validations
from segmentation.job import Job
from tests.helpers.killing import Killed
from tests.helpers.ranks import two_forks
from tests.segmentation.conftest import CONFIGS, SMALL, TINY, flags
from tests.segmentation.test_backbone import write_classifier


def prepare(
    root: Path, name: str, *, resume: bool = False, launcher: str = "none", backends: Any = (), **options: Any
) -> Job:
    """A tiny job in root/name on the data in root/data."""
    merged = {**TINY, **{key.replace("__", "."): value for key, value in options.items()}}
    return Job.prepare(
        SMALL,
        options=merged,
        data_root=str(root / "data"),
        directory=root / name,
        resume=resume,
        launcher=launcher,
        backends=backends,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("validations", 3),
        ("validations", [{"iteration": 1}]),
        ("validations", ["x"]),
        ("seconds", "x"),
        ("seconds", -1),
    ],
)
def test_damaged_values_in_a_state_are_named(name: str, value: Any) -> None:
    state = {name: value}
    runner = SimpleNamespace(message_hub=SimpleNamespace(runtime_info=state, get_info=state.__getitem__))
    with pytest.raises(EANError, match=f"the state last.pth is damaged .*{name}"):
        CountSeconds().before_train(runner)
        validations(runner)


def test_a_long_name_stops_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / f"{'n' * 250}.png"
    Image.new("RGB", (4, 4)).save(photo)
    monkeypatch.setattr("segmentation.hooks.draw_sample", lambda image, *_: image)
    images = SimpleNamespace(dataset=SimpleNamespace(metainfo={}))
    runner = SimpleNamespace(iter=100, work_dir=tmp_path, val_dataloader=images)
    SidePictures().after_val_iter(runner, 0, outputs=[SimpleNamespace(img_path=str(photo))])
    assert len(list((tmp_path / "pictures").glob("*_000100.png"))) == 1


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return read_state(directory / "last.pth")["state_dict"]


class KillAt(Hook):
    """Ends the process after a step, before the next one or, if told so, before a validation."""

    priority = "VERY_HIGH"

    def __init__(self, step: int, *, validating: bool = False) -> None:
        self.step, self.validating = step, validating

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.step and not self.validating:
            raise Killed

    def before_val_epoch(self, runner: Any) -> None:
        if runner.iter == self.step and self.validating:
            raise Killed


def run_killed(job: Job, hook: KillAt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a job until the hook ends it."""
    from segmentation import fit as module

    build = module.QuietRunner.from_cfg

    def from_cfg(config: Any) -> Any:
        runner = build(config)
        runner.register_hook(hook)
        return runner

    with monkeypatch.context() as patch:
        patch.setattr(module.QuietRunner, "from_cfg", from_cfg)
        with pytest.raises(Killed):
            job.run()


def test_a_killed_run_ends_as_an_uninterrupted_one(voc, tmp_path, monkeypatch):
    length = {"train_cfg__max_iters": 7, "train_cfg__val_interval": 3}
    whole = prepare(tmp_path, "whole", **length).run()
    run_killed(prepare(tmp_path, "killed", **length), KillAt(5), monkeypatch)
    state = read_state(tmp_path / "killed/last.pth")
    assert state["meta"]["iter"] == 4
    state["message_hub"]["runtime_info"]["seconds"] += 1000  # as if the killed process had taken so long
    torch.save(state, tmp_path / "killed/last.pth")
    with pytest.raises(EANError, match="holds an earlier run: give --resume"):
        prepare(tmp_path, "killed", **length)
    with pytest.raises(EANError, match=r"cannot be resumed.*max_iters = 7, and this run has 9"):
        prepare(tmp_path, "killed", resume=True, **{**length, "train_cfg__max_iters": 9})
    resumed = prepare(tmp_path, "killed", resume=True, **length).run()
    assert resumed["seconds"] > 1000 > whole["seconds"] > 0
    assert read_state(tmp_path / "killed/last.pth")["meta"]["iter"] == 7
    assert resumed["last"] == whole["last"]
    assert resumed["validations"] == whole["validations"]
    assert [row["iteration"] for row in whole["validations"]] == [3, 6, 7]
    ours, theirs = weights(tmp_path / "killed"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_killed_between_a_steps_state_and_its_validation_makes_up_for_it(voc, tmp_path, monkeypatch):
    length = {"train_cfg__max_iters": 4, "train_cfg__val_interval": 2}
    whole = prepare(tmp_path, "whole", **length).run()
    assert [row["iteration"] for row in whole["validations"]] == [2, 4]
    for step, resume in ((2, False), (4, True)):
        run_killed(prepare(tmp_path, "killed", resume=resume, **length), KillAt(step, validating=True), monkeypatch)
        assert read_state(tmp_path / "killed/last.pth")["meta"]["iter"] == step
    resumed = prepare(tmp_path, "killed", resume=True, **length).run()
    for name in ("validations", "last", "best_of_validations"):
        assert resumed[name] == whole[name], name
    assert read_record(tmp_path / "killed/result.json")["metrics"]["last"] == whole["last"]


def test_a_run_that_is_done_is_shown_again(voc, tmp_path):
    whole = prepare(tmp_path, "whole").run()
    again = prepare(tmp_path, "whole", resume=True).run()
    assert (again["last"], again["validations"]) == (whole["last"], whole["validations"])


def test_a_run_does_not_go_on_with_other_pixels(voc, tmp_path):
    """The names of the images and the classes of their pixels are the same."""
    prepare(tmp_path, "run").run()
    path = voc / "JPEGImages/2007_000001.jpg"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    with pytest.raises(EANError, match="it was started with content.train = '[0-9a-f]{16}', and this run has"):
        prepare(tmp_path, "run", resume=True)


def test_runs_that_start_within_one_second_remember_apart(voc, tmp_path, monkeypatch):
    """MMEngine names what a run remembers by the second; a run must not take another's validation for its own."""
    monkeypatch.setattr("mmengine.runner.runner.time.time", lambda: 1e9)
    runners = [QuietRunner.from_cfg(prepare(tmp_path, "run", resume=again).config) for again in (False, True)]
    assert runners[0].timestamp == runners[1].timestamp
    runners[0].message_hub.update_info("validations", [{"iteration": 4}])
    assert validations(runners[1]) == []


def test_the_record_says_what_was_run(voc, tmp_path):
    write_classifier(tmp_path / "c.pth", arch="resnet20", attention="se", scheme="001001001", pruned=True)
    job = Job.prepare(
        SMALL,
        options={**TINY, "train_cfg.max_iters": 1},
        data_root=str(tmp_path / "data"),
        weights=str(tmp_path / "c.pth"),
        seed=3,
        amp=True,
        directory=tmp_path / "run",
    )
    assert job.lines[1].endswith("2 in the file but not used: fc.weight, fc.bias")
    assert "normalized with mean [127.5, 127.5, 127.5], as those of the weights, not [125.307" in job.lines[2]
    assert job.config.model.data_preprocessor.mean == [127.5, 127.5, 127.5]
    job.run()
    record = read_record(tmp_path / "run/result.json")
    settings, metrics = record["settings"], record["metrics"]
    assert (record["kind"], metrics["network"], settings["seed"]) == ("segmentation-run", "EAN-SE", 3)
    assert settings["weights_sha256"]
    assert settings["optim_wrapper"]["type"] == "BFloat16OptimWrapper"
    assert settings["data"]["val"]["images"] == metrics["last"]["images"] == 3
    assert [row["class"] for row in metrics["last"]["classes"]] == ["background", "person"]
    assert metrics["best_of_validations"]["mIoU"] == max(row["mIoU"] for row in metrics["validations"])
    assert 0 < metrics["backbone_parameters"] < metrics["parameters"]
    assert len(list((tmp_path / "run/pictures").glob("*_000001.png"))) == 3


def test_seeds_differ_and_repeat(voc, tmp_path):
    options = {**TINY, "train_cfg.max_iters": 1}
    results = []
    for number, seed in enumerate((0, 0, 1)):
        directory = tmp_path / str(number)
        Job.prepare(SMALL, options=options, data_root=str(tmp_path / "data"), seed=seed, directory=directory).run()
        results.append(weights(directory)["decode_head.conv_seg.weight"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_demo_learns_and_its_loss_falls(tmp_path, script, capsys):
    """The user's very command, a few steps of it."""
    options = ("train_cfg.max_iters=30", "train_cfg.val_interval=30", "model.data_preprocessor.size=(48,48)")
    options += ("train_dataloader.dataset.pipeline.2.crop_size=(48,48)",)
    assert script("tools/train.py", CONFIGS / "ean_se_demo.py", "--cfg-options", *options) == 0
    out = capsys.readouterr().out
    assert "ean_se_demo: EAN-SE" in out
    run = tmp_path / "work_dirs/ean_se_demo"
    record = read_record(run / "result.json")
    assert record["metrics"]["last"]["classes"][0]["IoU"] > 60
    assert (tmp_path / "data/voc_demo").is_dir()
    first, last = (float(re.search(rf"^training {step}/30 .*loss ([\d.]+)", out, re.MULTILINE)[1]) for step in (1, 30))
    assert last < 0.6 * first
    assert "Could not import OneDL" not in out
    following = out.partition("next: ")[2].splitlines()
    scripts = ("segmentation/predict.py", "tools/test.py", "tools/train.py")
    assert [re.search(r"python \S*?(\w+/\w+.py) ", line)[1] for line in following] == list(scripts)
    assert following[2].endswith("model.backbone.scheme=org")  # to compare with


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.py"], "nothing.py does not exist"),
        ([SMALL, "--cfg-options", "train_cgf.max_iters=3"], "the config has no 'train_cgf'"),
        ([SMALL, "--weights", "missing.pth"], "missing.pth does not exist"),
        ([SMALL, *flags(model__backbone__scheme="01")], "2 bits"),
        ([SMALL, *flags(model__decode_head__num_classes=5)], "num_classes=5 but the data set has 2 classes"),
        ([SMALL, *flags(train_dataloader__dataset__type="VOCSegmantation")], "unknown data set 'VOCSegmantation'"),
        ([SMALL, *flags(model__backbone__atention="se")], "unexpected keyword argument 'atention'"),
        ([SMALL, *flags(train_dataloader__dataset__onyl="[]")], "unexpected keyword argument 'onyl'"),
        ([SMALL, *flags(model__decode_head__type="PSPHaed")], "PSPHaed"),
        ([SMALL, *flags(val_evaluator__type="IoUMetric")], "has no ClassIoU: base it on"),
        ([SMALL, *flags(train_dataloader__batch_size=1)], "at least 2 images per process"),
        ([SMALL, *flags(train_dataloader__batch_size="many")], "batch_size must be an integer of at least 1"),
        (
            [SMALL, *flags(train_cfg__max_iters=-3)],
            "max_iters must be an integer of at least 1 and at most 100,000,000, got -3",
        ),
        (
            [SMALL, *flags(train_cfg__max_iter=3)],
            "train_cfg cannot be built (got an unexpected",
        ),
        ([SMALL, *flags(optim_wrapper__optimizer__lrr=3)], "unexpected keyword argument 'lrr'"),
        (
            [SMALL, *flags(optim_wrapper__optimizer__lr="fast")],
            "optimizer.lr must be a number of at least 1e-12 and at most",
        ),
        (
            [SMALL, *flags(model__decode_head__channels=-4)],
            "model cannot be built (Trying to create tensor with negative",
        ),
        ([SMALL, *flags(param_scheduler__0__powr=2)], "param_scheduler cannot be built ("),
        ([SMALL, *flags(custom_hooks__1__intervl=2)], "hooks cannot be built ("),
        ([SMALL, *flags(model__backbone__arch="resnet29")], "PSPHead takes 64 channels, and resnet29 gives 256 at"),
        ([SMALL, *flags(model__decode_head__in_index=3)], "PSPHead has in_index 3, but the backbone has 3 outputs"),
        ([CONFIGS / "_base_/pspnet.py"], "has no train_dataloader"),
    ],
)
def test_mistakes_get_a_sentence_and_claim_nothing(voc, script, tmp_path, capsys, arguments, says):
    assert script("tools/train.py", *arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert says in error[0]
    assert not (tmp_path / "work_dirs").exists()


# -- two processes ----------------------------------------------------------------------------------------------------


def work(launcher: str, rank: int, root: Path) -> None:
    """One of two processes, as torchrun would start it."""
    job = prepare(root, "two", launcher=launcher, train_cfg__max_iters=3)
    metrics = job.run()
    state = {name: value.double().sum().item() for name, value in job_weights(job).items()}
    (root / f"rank{rank}.json").write_text(json.dumps([metrics.get("last"), state]))


def job_weights(job: Job) -> dict[str, torch.Tensor]:
    return weights(job.directory)


def test_two_processes_train_one_network(voc, tmp_path):
    two_forks(work, tmp_path)
    (first, state), (other, same) = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first["images"] == 3
    assert other is None  # only the first process has, and writes, the record
    assert state == same
    record = read_record(tmp_path / "two/result.json")
    assert (record["settings"]["processes"], record["settings"]["batch_size"]) == (2, 4)


@pytest.mark.gpu
def test_mixed_precision_on_a_gpu(voc, tmp_path):
    job = Job.prepare(SMALL, options=TINY, data_root=str(tmp_path / "data"), directory=tmp_path / "run", amp=True)
    assert job.config.optim_wrapper.type == "AmpOptimWrapper"
    assert job.run()["last"]["images"] == 3


def test_the_state_is_saved_under_a_temporary_name_first(tmp_path, monkeypatch):
    hook, seen = SaveIterations(interval=2), []
    hook.path = tmp_path / "last.pth"

    class Runner:
        iter, max_iters, hooks, model = 1, 10, (), torch.nn.Linear(1, 1)

        def save_checkpoint(self, directory: str, name: str, by_epoch: bool) -> None:
            seen.append(((tmp_path / "last.pth").exists(), by_epoch))
            (Path(directory) / name).write_text("x")

    hook.after_train_iter(Runner(), 0)
    assert seen == [(False, False)]
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]


def test_the_engines_other_logs_are_no_part_of_a_runs_identity(voc, tmp_path, monkeypatch):
    """What is logged where changes no result: a run may go on with another --log."""
    from mmengine.registry import VISBACKENDS
    from mmengine.visualization import LocalVisBackend

    logged: dict[str, Any] = {}

    class Telling(LocalVisBackend):
        def add_scalars(self, scalar_dict, step=0, file_path=None, **kwargs):
            logged.update(scalar_dict)

    monkeypatch.setitem(VISBACKENDS.module_dict, "Telling", Telling)
    length = {"train_cfg__max_iters": 4, "train_cfg__val_interval": 2}
    run_killed(prepare(tmp_path, "run", **length), KillAt(2), monkeypatch)
    prepare(tmp_path, "run", resume=True, backends=["Telling"], **length).run()
    assert logged["mIoU"] > 0
