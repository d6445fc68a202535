"""The segmentation parts of tools/train.py and tools/test.py. Heavy modules are imported only when called."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segmentation.job import Job


def train_segmentor(arguments: argparse.Namespace) -> None:
    """Check everything, train a segmentor, and print its metrics."""
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from ean_core.cli import backends_of, parse_options
    from ean_core.pipeline.estimate import announce_networks
    from ean_core.utils.distributed import is_main_process, start_processes, stop_processes
    from ean_core.utils.screen import say, say_next, say_verdict
    from segmentation.dry_run import dry_run
    from segmentation.job import Job
    from segmentation.metrics_table import print_metrics
    from segmentation.verdict import verdicts

    launcher = start_processes(arguments.launcher)
    job = Job.prepare(
        arguments.config,
        options=parse_options(arguments.cfg_options),
        data_root=arguments.data_root,
        weights=arguments.weights,
        seed=arguments.seed,
        amp=arguments.amp,
        directory=arguments.work_dir,
        launcher=launcher,
        resume=arguments.resume,
        backends=backends_of(arguments.log),
        dry_run=arguments.dry_run,
    )
    if is_main_process():
        say(*job.lines)
    if arguments.dry_run:
        dry_run(job)
        return
    metrics = job.run(on_pace=announce_networks(1, noun="segmentor", epochs="train_cfg.max_iters"))
    if is_main_process():
        print_metrics(metrics["last"], title=f"{job.label}: {metrics['last']['images']} validation images")
        say_verdict(verdicts(job.directory))
        say(f"files in {job.directory}/: last.pth  result.json  pictures/")
        say_next(*next_commands(arguments, job))
    stop_processes()


def next_commands(arguments: argparse.Namespace, job: Job) -> list[list[object]]:
    """What the user will want next: to use and test the segmentor, and the network that it is to be compared with or,
    where that is trained, a search.

    Args:
        arguments: of the training.
        job: made of them.
    """
    from ean_core.utils.screen import script
    from segmentation.verdict import networks_beside

    checkpoint, given = job.directory / "last.pth", list(arguments.cfg_options)
    data = [] if arguments.data_root == "data" else ["--data-root", arguments.data_root]
    commands: list[list[object]] = [
        [*script("segmentation/predict.py"), arguments.config, checkpoint, "PHOTO.jpg", "--out-dir", "masks"],
        [*script("tools/test.py"), arguments.config, checkpoint, "--tta", *data],
    ]
    if given:
        commands = [[*words, "--cfg-options", *given] for words in commands]
    if len(networks_beside(job.directory)) == 1:
        scheme = "share-full" if job.label == "Org" else "org"
        changes = ["model.backbone.attention=se"] if job.label == "Org" else []
        words: list[object] = [*script("tools/train.py"), arguments.config, *data, "--seed", arguments.seed]
        words += ["--weights", arguments.weights] if arguments.weights else []
        words += ["--amp"] if arguments.amp else []
        words += ["--work-dir", job.directory.with_name(f"{job.directory.name}-{scheme}")]
        commands.append([*words, "--cfg-options", *given, *changes, f"model.backbone.scheme={scheme}"])
    elif {"supernet", "search"} <= set(job.config):
        given = [option for option in given if not option.startswith("model.backbone.scheme=")]  # it finds one
        if arguments.weights:
            given.append(f"model.backbone.init_cfg={dict(type='Pretrained', checkpoint=arguments.weights)}")
        fast = ["--fast"] if arguments.amp else []
        options = ["--cfg-options", *given] if given else []
        commands.append([*script("tools/search.py"), arguments.config, *data, *fast, *options])
    return commands


def test_segmentor(arguments: argparse.Namespace) -> None:
    """Score a checkpoint on its config's test images, and print and write the metrics."""
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from ean_core.cli import parse_options
    from ean_core.utils.screen import say, say_next, script
    from ean_core.utils.shipped_files import results_folder
    from segmentation.evaluation import TestSettings, run_test

    out = Path(arguments.out_dir) if arguments.out_dir else results_folder(arguments.checkpoint)
    run_test(
        arguments.config,
        arguments.checkpoint,
        TestSettings(slide=arguments.slide, tta=arguments.tta),
        options=parse_options(arguments.cfg_options),
        data_root=arguments.data_root,
        out=out,
    )
    say(f"written: {out / 'test.json'}")
    photo = [*script("segmentation/predict.py"), arguments.config, arguments.checkpoint, "PHOTO.jpg"]
    say_next([*photo, "--out-dir", out / "masks"])
