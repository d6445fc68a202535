"""Build the MMEngine runner that trains supernets and networks."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict

import ean_core.training.wandb_backend  # noqa: F401 (registers it)
from ean_core.io.safe_load import load_tensors
from ean_core.training.finite_guard import StopIfNotFinite
from ean_core.training.hooks import SaveState, SyncBuffers, unwrap_model
from ean_core.training.run_key import check_keys, key_of
from ean_core.training.settings import TrainSettings, optimizer_and_schedule
from ean_core.training.state import log_buffers, read_state
from ean_core.training.step_log import LOG_EVERY, QuietRuntimeInfo
from ean_core.utils.data_workers import guard_workers
from ean_core.utils.distributed import rank_and_world
from ean_core.utils.errors import EANError, first_line
from ean_core.utils.failure_messages import out_of_memory
from ean_core.utils.process_agreement import state_to_resume

_numbers = itertools.count()


class QuietRunner(Runner):
    """MMEngine's runner with its log only in a file, errors on the screen, and a stop at divergence.

    MMEngine names a run's message hub by the second; here every run of a process has a unique name.
    """

    def __init__(self, model: Any, work_dir: str, *args: Any, **kwargs: Any) -> None:
        kwargs["experiment_name"] = f"{Path(work_dir).name}_{next(_numbers)}"
        self._determinism = _read_determinism()
        super().__init__(model, work_dir, *args, **kwargs)
        self.register_hook(StopIfNotFinite())

    def train(self) -> Any:
        """Train; then close the log file, and restore PyTorch's determinism, which MMEngine sets for good.

        What follows in the same process, such as timing the networks, is then the same as in a process of its own.
        """
        try:
            return super().train()
        finally:
            _set_determinism(*self._determinism)
            for handler in list(self.logger.handlers):
                if isinstance(handler, logging.FileHandler):
                    handler.close()
                    self.logger.removeHandler(handler)

    def build_logger(self, *args: Any, **kwargs: Any) -> Any:
        """Build the logger, showing only errors on the screen."""
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(logging.ERROR)
        return logger

    @staticmethod
    def build_dataloader(*args: Any, **kwargs: Any) -> Any:
        """Build a data loader whose dead or stuck workers stop the run."""
        return guard_workers(Runner.build_dataloader(*args, **kwargs))

    def resume_from(self, state: Path) -> None:
        """Resume from a run's state when training starts, if there is one.

        Raises:
            EANError: if the file is damaged, not a state or another run's, or differs between processes.
        """
        if state_to_resume(state) is not None:
            check_keys([read_state(state)["meta"].get("run")], key_of(state.parent), file=state)
            self._resume, self._load_from = True, str(state)

    def load_checkpoint(self, filename: str, *_: Any, **__: Any) -> dict[str, Any]:
        """Load a state, or for a config's `load_from` a file of weights, into the model.

        MMEngine's own loader allows `getattr`, and falls back to unrestricted unpickling.

        Raises:
            EANError: if the file is damaged, holds something else, or does not fit the model.
        """
        model = unwrap_model(self.model)
        if not self._resume:
            content = load_tensors(filename)
            load_state_dict(model, content.get("state_dict", content), strict=False, logger=self.logger)
            return content
        state = read_state(Path(filename))
        with _fits(filename):
            state["message_hub"]["log_scalars"] = log_buffers(state["message_hub"]["log_scalars"])
            self.call_hook("after_load_checkpoint", checkpoint=state)
            model.load_state_dict(state["state_dict"])
        return state

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume, turning errors of a state that does not fit into an `EANError`.

        Raises:
            EANError: if the state is damaged, or belongs to another run.
        """
        with _fits(filename):
            super().resume(filename, *args, **kwargs)


def _read_determinism() -> tuple[bool, bool, bool, bool]:
    """PyTorch's four switches of determinism, as `_set_determinism` takes them."""
    backend = torch.backends.cudnn
    return (
        backend.deterministic,
        backend.benchmark,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_determinism(deterministic: bool, benchmark: bool, algorithms: bool, warn_only: bool) -> None:
    """Set what `_read_determinism` returns."""
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = deterministic, benchmark
    torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)


@contextmanager
def _fits(filename: str) -> Iterator[None]:
    """Turn errors of MMEngine and torch for a state of another run into an `EANError`."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        if isinstance(error, EANError) or out_of_memory(error):
            raise
        raise EANError(
            f"{filename} does not fit this run ({first_line(error)}): give the settings that it was started with, or "
            "move it away to start over"
        ) from None


def build_runner(
    model: BaseModel,
    loader: Any,
    settings: TrainSettings,
    *,
    work_dir: Path,
    seed: int,
    launcher: str = "none",
    validation: dict[str, Any] | None = None,
    hooks: Sequence[Hook] = (),
    resume: bool = False,
    backends: Sequence[str] = (),
    unused_parameters: bool = False,
) -> Runner:
    """Build a runner over a loader of `ean_core.data`.

    Args:
        model: an `ImageClassifier` or another MMEngine model.
        loader: training batches; its length is the number of steps per epoch.
        settings: epochs, optimizer and schedule.
        work_dir: directory of the log and the state.
        seed: of MMEngine's own randomness; loaders and paths have their own seeds.
        launcher: as `start_processes` returned it.
        validation: "val_dataloader", "val_cfg" and "val_evaluator" of the runner.
        hooks: additional hooks.
        resume: resume from `work_dir/last.pth` if it exists.
        backends: registered names of additional visualization backends, from `ean_core.cli.backends_of`.
        unused_parameters: whether a step may leave parameters without gradient, as a supernet's path does.
    """
    state = work_dir / "last.pth"
    optim_wrapper, schedule = optimizer_and_schedule(settings, steps_per_epoch=len(loader))
    runner = QuietRunner(
        model,
        str(work_dir),
        train_dataloader=loader,
        train_cfg=_epochs(settings),
        optim_wrapper=optim_wrapper,
        param_scheduler=schedule,
        custom_hooks=_custom_hooks(settings, hooks, state),
        launcher=launcher,
        env_cfg={"dist_cfg": {"backend": "nccl" if torch.cuda.is_available() else "gloo"}},
        randomness=_randomness(seed, deterministic=settings.deterministic),
        default_scope="mmengine",
        cfg=_config(settings, unused_parameters=unused_parameters),
        **_logging(backends),
        **(validation or {}),
    )
    if resume:
        runner.resume_from(state)
    return runner


def _config(settings: TrainSettings, *, unused_parameters: bool) -> Config:
    """The runner's config; MMEngine would format it anew for every checkpoint, which takes as long as saving one."""
    content = {"model_wrapper_cfg": _wrapper(unused_parameters), "settings": dataclasses.asdict(settings)}
    return Config(content, format_python_code=False)


def _epochs(settings: TrainSettings) -> dict[str, Any]:
    """The runner's `train_cfg`: number of epochs and validation interval."""
    interval = settings.val_interval
    train_cfg = {"by_epoch": True, "max_epochs": settings.epochs, "val_interval": interval or settings.epochs}
    if not interval:
        train_cfg["val_begin"] = settings.epochs + 1
    return train_cfg


def _randomness(seed: int, *, deterministic: bool) -> dict[str, Any]:
    """The runner's `randomness`: seed and determinism."""
    if deterministic:  # needed before cuBLAS starts by older PyTorch versions
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return {"seed": seed, "deterministic": deterministic}


def _custom_hooks(settings: TrainSettings, hooks: Sequence[Hook], state: Path) -> list[Any]:
    """The caller's hooks and those of every training."""
    custom: list[Any] = [*hooks, SaveState(state, interval=settings.save_interval)]
    if rank_and_world()[1] > 1:
        custom.insert(0, SyncBuffers())
    if settings.ema is not None:
        custom.append({"type": "EMAHook", "momentum": 1.0 - settings.ema, "update_buffers": True})
    return custom


def _wrapper(unused_parameters: bool) -> dict[str, Any]:
    """The distributed wrapper of the model."""
    wrapper = {
        "type": "MMDistributedDataParallel",
        "find_unused_parameters": unused_parameters,
        "broadcast_buffers": False,
    }
    return wrapper if torch.cuda.is_available() else {**wrapper, "device_ids": None}


def _logging(backends: Sequence[str]) -> dict[str, Any]:
    """The runner's logging: hooks, averaging and backends."""
    return {
        "default_hooks": {
            "checkpoint": None,
            "logger": {"type": "LoggerHook", "interval": LOG_EVERY},
            "runtime_info": QuietRuntimeInfo(),
        },
        "log_processor": {
            "type": "LogProcessor",
            "window_size": 1,  # losses are means already
            "custom_cfg": [
                {"data_src": name, "method_name": "mean", "window_size": LOG_EVERY} for name in ("time", "data_time")
            ],
        },
        "visualizer": {
            "type": "Visualizer",
            "vis_backends": [{"type": "LocalVisBackend"}, *({"type": name} for name in backends)],
        },
    }
