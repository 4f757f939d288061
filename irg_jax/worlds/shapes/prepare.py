"""Builds the inputs of a run on the shapes world: the data set and a tokenizer trained on it."""

import logging
from pathlib import Path

from irg_jax.core.locks import locked
from irg_jax.core.small_files import is_there
from irg_jax.data import modes, tokenizer
from irg_jax.data.config import DataConfig
from irg_jax.data.conversation import Source
from irg_jax.data.sources.trajectories import open_source
from irg_jax.data.trajectory import Trajectory
from irg_jax.worlds.shapes import dataset


def prepare(config: DataConfig) -> None:
    """Builds the data set and the tokenizer if they are missing and the config has a ``world``; else does nothing.

    A tokenizer whose file was cut by a crash is trained anew. Of two processes that train the same one, one waits.

    Raises:
      UserError: the folder holds another data set, or the disk cannot be written.
    """
    world = config.world
    if world is None:
        return
    dataset.build(config.dir, seed=world.seed, train=world.train, held_out=world.held_out)
    # Looked at before the lock too: a tokenizer that is complete may be in a folder that is read-only.
    if tokenizer.is_complete(config.tokenizer):
        return
    with locked(config.tokenizer, "config.data.tokenizer", wait=True):
        if tokenizer.is_complete(config.tokenizer):
            return  # trained by the process that held the lock
        if is_there(Path(config.tokenizer) / "tokenizer.json"):
            logging.warning("%s: its tokenizer.json is empty or cut", config.tokenizer)
        logging.info("training a tokenizer of %d ids on %s", world.vocab, config.dir)
        tokenizer.train(_texts(open_source(config.dir, "train")), world.vocab, config.tokenizer)


def _texts(trajectories: Source[Trajectory]) -> list[str]:
    texts = [modes.INITIAL_QUESTION, modes.IMPROVING_QUESTION]
    for trajectory in (trajectories[i] for i in range(len(trajectories))):
        texts += [trajectory.prompt, trajectory.thinking1, trajectory.thinking2]
    return texts
