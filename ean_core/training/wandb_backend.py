"""Weights & Biases (https://docs.wandb.ai) for `--log wandb`: one run per trained network."""

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
    """MMEngine's backend, for commands that train several networks in sequence.

    A run is named PIPELINE/NETWORK after its directories and stays open after training, so that the final test is
    logged too; the next run or the end of the process finishes it. Unlike MMEngine's backend, it uploads no code. The
    project is WANDB_PROJECT, by default "ean".

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
                settings=wandb.Settings(quiet=True, console="off"),  # do not capture our output
            )
        except wandb.Error as error:
            raise EANError(
                f"--log wandb cannot start a run ({first_line(error)}): log in with `wandb login`, or set "
                "WANDB_MODE=offline"
            ) from None
        self._wandb = wandb

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the runner's config as the run's settings."""
        self._wandb.config.update(config.to_dict(), allow_val_change=True)

    def close(self) -> None:
        """Keep the run open for the final test."""
