"""Where metrics, images and texts of a run go."""

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from irg_jax.core.storage import as_path
from irg_jax.training.writers.table import TableWriter
from irg_jax.training.writers.tensorboard import TensorBoardWriter
from irg_jax.training.writers.weights_and_biases import WandBWriter


class Writer(Protocol):
    """Somewhere to write. Every method raises StorageError where the storage goes on answering with errors."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes numbers of a step. Steps do not decrease; the same step again adds to what it has."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Writes images by name, uint8 [height, width, 3]."""

    def write_text(self, name: str, text: str) -> None:
        """Writes a text that describes the run, in Markdown."""

    def close(self) -> None:
        """Writes what is not written yet."""


class Writers:
    """Several writers as one."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = list(writers)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """See ``Writer``."""
        for writer in self._writers:
            writer.write(step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See ``Writer``."""
        for writer in self._writers:
            writer.write_images(step, images)

    def write_text(self, name: str, text: str) -> None:
        """See ``Writer``."""
        for writer in self._writers:
            writer.write_text(name, text)

    def close(self) -> None:
        """Closes all of them, also where one fails; raises the first error."""
        errors = []
        for writer in self._writers:
            try:
                writer.close()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


def open_writers(
    directory: str | os.PathLike[str], *, resume_step: int | None, wandb_project: str = "", run_name: str = ""
) -> Writers:
    """The writers of a run: ``metrics.csv``, TensorBoard, and Weights & Biases if a project is given.

    Args:
      directory: the run's folder, or its URL; made if it is missing.
      resume_step: the step of the checkpoint that the run resumes from; later rows, of a run that was killed after its
        last checkpoint, are dropped. None starts anew.
      wandb_project: on Weights & Biases; empty for none.
      run_name: how the run is called there.

    Raises:
      UserError: the folder cannot be written, or a package is missing.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    writers: list[Writer] = [
        TableWriter(folder, resume_step=resume_step),
        TensorBoardWriter(folder / "tensorboard", resume_step=resume_step),
    ]
    if wandb_project:
        writers.append(WandBWriter(folder, project=wandb_project, name=run_name))
    return Writers(writers)
