"""Builds the inputs of a run on the shapes world: the data set and a tokenizer trained on it."""

import logging
from pathlib import Path

from irg_jax.core.locks import locked
from irg_jax.core.small_files import is_there
from irg_jax.data import modes, tokenizer
from irg_jax.data.config import DataConfig, WorldConfig
from irg_jax.data.sources.trajectories import TrajectorySource, open_source
from irg_jax.worlds.shapes import dataset


def prepare(config: DataConfig) -> None:
    """Builds the data set and the tokenizer of every source that has a ``world``, if they are missing.

    A tokenizer whose file was cut by a crash is trained anew. Of two processes that train the same one, one waits.

    Raises:
      UserError: the folder holds another data set, or the disk cannot be written.
    """
    for source in config.sources.values():
        if source.world is not None:
            _prepare(source.dir, source.world, config.tokenizer)


def _prepare(directory: str, world: WorldConfig, folder: str) -> None:
    dataset.build(directory, seed=world.seed, train=world.train, held_out=world.held_out)
    # Looked at before the lock too: a tokenizer that is complete may be in a folder that is read-only.
    if tokenizer.is_complete(folder):
        return
    with locked(folder, "config.data.tokenizer", wait=True):
        if tokenizer.is_complete(folder):
            return  # trained by the process that held the lock
        if is_there(Path(folder) / "tokenizer.json"):
            logging.warning("%s: its tokenizer.json is empty or cut", folder)
        logging.info("training a tokenizer of %d ids on %s", world.vocab, directory)
        tokenizer.train(_texts(open_source(directory, "train")), world.vocab, folder)


def _texts(trajectories: TrajectorySource) -> list[str]:
    texts = [modes.INITIAL_QUESTION, modes.IMPROVING_QUESTION]
    for trajectory in (trajectories[i] for i in range(len(trajectories))):
        texts += [trajectory.prompt, trajectory.thinking1, trajectory.thinking2]
    return texts
