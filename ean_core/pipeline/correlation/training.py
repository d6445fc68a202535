"""Training a study's schemes from scratch, in any number of processes.

Each training is taken by one of them, under a lock that ends with its process.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from filelock import Timeout

from ean_core.pipeline.correlation.study import Study
from ean_core.pipeline.retrain import finished, read_result, train_network
from ean_core.utils.errors import EANError
from ean_core.utils.startup import PARENT


def train_remaining(study: Study) -> Iterator[Path]:
    """Train what no process has trained or is training, seed by seed in the schemes' order; yields each directory.

    Seed by seed, so that a study that is stopped early has as many schemes as it could have.
    """
    job = dataclasses.replace(study.job, resume=True)
    for seed in job.recipe.seeds:
        for scheme in study.schemes:
            directory = study.training_directory(scheme, seed)
            if finished(directory, job.task):
                continue
            try:
                with study.lock(directory.name).acquire(timeout=0):
                    if finished(directory, job.task):  # by another process, since we looked
                        continue
                    train_network(job, study.target(scheme), seed=seed)
            except Timeout:
                continue
            yield directory


def visible_gpus(given: str | None, count: int) -> list[str]:
    """What the driver calls the `count` GPUs of this process, which may have been `given` some of the machine's."""
    return [name.strip() for name in given.split(",")][:count] if given else [str(number) for number in range(count)]


@contextmanager
def start_workers(count: int, *, directory: Path) -> Iterator[None]:
    """Start this very command `count` times more, each with its log in `directory`; they have ended when the block has.

    All of them share the processor's threads, since processes whose threads wait for each other are many times slower.

    Raises:
        EANError: naming its log, if one of them fails.
    """
    command = [sys.executable, *sys.argv, "--workers", "1", "--resume"]  # the last of two equal flags counts
    devices = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), torch.cuda.device_count())
    threads = max(1, torch.get_num_threads() // (count + 1))
    with ExitStack() as stack:
        if count:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        started = []
        for number in range(1, count + 1):
            log = directory / f"worker{number}.log"
            device = {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if len(devices) > 1 else {}
            file = stack.enter_context(log.open("w"))
            own = {"OMP_NUM_THREADS": str(threads), PARENT: str(os.getpid())}  # it ends when this process is killed
            environment = {**os.environ, **own, **device}
            worker = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
            started.append((worker, log))
            stack.callback(worker.wait)
            stack.callback(worker.terminate)
        yield
        for worker, log in started:
            if worker.wait():
                raise EANError(f"a worker ended with exit status {worker.returncode}: {log} says why; --resume goes on")


def read_test_results(study: Study) -> list[list[float]]:
    """The task's first metric of each scheme, one value per finished seed, in the schemes' order.

    Raises:
        EANError: if a network that exists was trained with other settings.
    """
    key = study.job.task.metrics[0].key
    results = []
    for scheme in study.schemes:
        directories = [
            train_network(study.job, study.target(scheme), seed=seed)  # only checks its settings: it is finished
            for seed in study.job.recipe.seeds
            if finished(study.training_directory(scheme, seed), study.job.task)
        ]
        results.append([read_result(path / "result.json", study.job.task).metrics[key] for path in directories])
    return results
