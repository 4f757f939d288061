"""Weights & Biases, for those who have the extra ``wandb``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from irg_jax.core.errors import StorageError, UserError
from irg_jax.core.small_files import read_text, write_text
from irg_jax.core.storage import AnyPath, is_url, retry

_ID_FILE = "wandb_run_id.txt"


class WandBWriter:
    """Writes to a run on Weights & Biases; a run of irg_jax that resumes goes on with the same one.

    Rows of steps after the last checkpoint, which a killed run had written, stay there: the service cannot take them
    back. The resumed run writes these steps again.
    """

    def __init__(self, directory: AnyPath, *, project: str, name: str) -> None:
        """Starts the run, or goes on with it.

        Args:
          directory: the run's folder, where the run's id is kept.
          project: on Weights & Biases.
          name: of the run there.

        Raises:
          UserError: the package is missing, or the service refuses the user.
          StorageError: the service cannot be reached.
        """
        try:
            import wandb
        except ImportError as error:
            raise UserError(
                f"config.log.wandb: {project!r} needs a package that is missing; install the extra: "
                "pip install 'irg-jax[wandb]', or set log.wandb to ''"
            ) from error
        self._wandb: Any = wandb
        file = directory / _ID_FILE
        known = retry(lambda: read_text(file).strip() if file.exists() else None, f"{file}: cannot be read")
        folder = None if is_url(directory) else str(directory)
        try:
            self._run = wandb.init(project=project, name=name or None, id=known, resume="allow", dir=folder)
        except wandb.errors.UsageError as error:
            raise UserError(f"config.log.wandb: {error}") from error
        except wandb.errors.CommError as error:
            raise StorageError(f"config.log.wandb: Weights & Biases cannot be reached ({error})") from error
        # Their own count of steps never goes back, as a resumed run does.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        if known is None:
            retry(lambda: write_text(file, self._run.id), f"{file}: cannot be written")

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """See ``Writer``."""
        self._run.log({**scalars, "step": step})

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See ``Writer``."""
        self._run.log({**{name: self._wandb.Image(image) for name, image in images.items()}, "step": step})

    def write_text(self, name: str, text: str) -> None:
        """See ``Writer``."""
        self._run.config.update({name: text}, allow_val_change=True)

    def close(self) -> None:
        """Waits until everything is sent."""
        self._run.finish()
