"""Builds the shapes data set on disk."""

import contextlib
import io
import logging
import os
import pathlib
import shutil

import tensorflow_datasets as tfds

from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.storage import retry
from irg_jax.data.sources.trajectories import local_folder, read_only_builder
from irg_jax.worlds.shapes.objects import SIZE
from irg_jax.worlds.shapes.scene import MANNERS
from irg_jax.worlds.shapes.tfds_shapes import Shapes, ShapesConfig


def build(
    directory: str | os.PathLike[str],
    *,
    seed: int,
    train: int,
    held_out: int,
    size: int = SIZE,
    manners: tuple[str, ...] = MANNERS[:1],
) -> None:
    """Writes a shapes data set (TFDS, ArrayRecord) into ``directory``; does nothing if it is already there.

    The folder gets its name only when it is complete, even if the process is killed. Of two processes that build the
    same folder, one waits for the other; a ``.name.lock`` file stays beside the folder.

    Args:
      directory: the data set's own folder; missing or empty, or built before with the same arguments.
      seed: see ``make_trajectory``.
      train: number of training records, 1 or more.
      held_out: number of held-out records, 1 or more.
      size: side of the pictures in pixels, see ``make_trajectory``.
      manners: of the prompts, see ``make_trajectory``.

    Raises:
      UserError: the folder holds something else, an argument is out of range, or the disk cannot be written; or a URL.
      StorageError: the storage went on answering with errors.
    """
    if seed < 0 or train < 1 or held_out < 1:
        raise UserError(
            f"shapes: seed {seed}, train {train}, held_out {held_out}: seed is 0 or more, the counts 1 or more"
        )
    folder, config = (
        local_folder(directory),
        ShapesConfig(seed=seed, train=train, held_out=held_out, size=size, manners=manners),
    )
    try:
        retry(lambda: _build(folder, config), f"{folder}: cannot write the data set")
    except OSError as error:
        raise UserError(f"{folder}: cannot write the data set ({error}); free the disk or choose another") from error


def _build(directory: pathlib.Path, config: ShapesConfig) -> None:
    with locked(directory, "the shapes data set", wait=True, beside=True):
        if not _is_built(directory, config):
            _write(directory, config)


def _is_built(directory: pathlib.Path, config: ShapesConfig) -> bool:
    """Whether ``directory`` already holds the data set; UserError if it holds anything else."""
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return False
    info = read_only_builder(directory).info
    wanted = f"{Shapes.name} {Shapes.VERSION} {config.name}"
    found = f"{info.name} {info.version} {info.config_name}"
    if found != wanted:
        raise UserError(f"{directory}: holds {found}, not {wanted}; delete it or choose another folder")
    return True


def _write(directory: pathlib.Path, config: ShapesConfig) -> None:
    partial = directory.parent / f".{directory.name}.partial"
    if partial.exists():  # left by a process that was killed
        shutil.rmtree(partial)
    tfds.disable_progress_bar()
    # TFDS warns about every config that is not one of a fixed list. Adding the same filter again changes nothing.
    logging.getLogger("absl").addFilter(_is_not_about_custom_config)
    builder = Shapes(data_dir=partial, config=config, file_format="array_record")
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints the partial folder, which is renamed below
        builder.download_and_prepare()
    os.rename(builder.data_path, directory)
    shutil.rmtree(partial)


def _is_not_about_custom_config(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Using custom data configuration")
