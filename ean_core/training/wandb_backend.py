"""Weights & Biases (https://docs.wandb.ai) behind `--log wandb`: a run of its own for every network that is trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.visualization import WandbVisBackend
from mmengine.visualization.vis_backend import force_init_env

from ean_core.utils.errors import EANError, first_line


@VISBACKENDS.register_module()
class WandbRun(WandbVisBackend):
    """MMEngine's backend, for commands that train several networks one after the other.

    A run is called PIPELINE/NETWORK, as its directories are, and stays open after the training: the test of the last
    weights is logged to it too. The next run finishes it, or the end of the process does. Unlike MMEngine's it uploads
    no code. The project is WANDB_PROJECT, or ean.

    Args:
        save_dir: the log directory of a runner, WORK_DIR/TIME/vis_data.
    """

    def _init_env(self) -> None:
        """Start the run when there is something to log.

        Raises:
            EANError: if it cannot be started, for example without an account.
        """
        import wandb

        directory = Path(self._save_dir).absolute().parents[1]
        Path(self._save_dir).mkdir(parents=True, exist_ok=True)
        try:
            wandb.init(
                dir=self._save_dir,
                project=os.environ.get("WANDB_PROJECT", "ean"),
                name=f"{directory.parent.name}/{directory.name}",
                reinit="finish_previous",
                settings=wandb.Settings(quiet=True, console="off"),  # our lines are not its, and stay on the screen
            )
        except wandb.Error as error:
            raise EANError(
                f"--log wandb cannot start a run ({first_line(error)}): log in with `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from None
        self._wandb = wandb

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Note the settings."""
        self._wandb.config.update(config.to_dict(), allow_val_change=True)

    def close(self) -> None:
        """Nothing: see the class."""
