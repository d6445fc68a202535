"""The segmentation parts of tools/train.py and tools/test.py. Heavy modules are imported only when called."""

from __future__ import annotations

import argparse
from pathlib import Path


def train_segmentor(arguments: argparse.Namespace) -> None:
    """Check everything, train a segmentor, and print its metrics."""
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from ean_core.cli import backends_of, parse_options
    from ean_core.utils.distributed import is_main_process, start_processes, stop_processes
    from segmentation.job import Job
    from segmentation.metrics_table import print_metrics

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
    )
    if is_main_process():
        print("\n".join(job.lines), flush=True)
    metrics = job.run()
    if is_main_process():
        print_metrics(metrics["last"], title=f"{job.label}: {metrics['last']['images']} validation images")
        print(f"files in {job.directory}/: last.pth  result.json  pictures/")
    stop_processes()


def test_segmentor(arguments: argparse.Namespace) -> None:
    """Score a checkpoint on its config's test images, and print and write the metrics."""
    from segmentation.third_party import ignore_warnings

    ignore_warnings()
    from ean_core.cli import parse_options
    from segmentation.evaluation import TestSettings, run_test

    out = Path(arguments.out_dir) if arguments.out_dir else Path(arguments.checkpoint).parent
    run_test(
        arguments.config,
        arguments.checkpoint,
        TestSettings(slide=arguments.slide, tta=arguments.tta),
        options=parse_options(arguments.cfg_options),
        data_root=arguments.data_root,
        out=out,
    )
    print(f"written: {out / 'test.json'}")
