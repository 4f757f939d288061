"""Builds the inputs of a run on the shapes world: the data sets and a tokenizer trained on their texts."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from irg_jax.core.locks import locked
from irg_jax.core.small_files import is_there
from irg_jax.data import modes, tokenizer
from irg_jax.data.config import DataConfig, SourceConfig
from irg_jax.data.conversation import Text
from irg_jax.data.factory import CONVERSATIONS
from irg_jax.data.sources.trajectories import open_source
from irg_jax.worlds.shapes import dataset
from irg_jax.worlds.shapes.base import folders

_SHORT_TEXTS = 1000  # samples of a base model whose texts a tokenizer learns from, of each kind


def prepare(config: DataConfig) -> None:
    """Builds the data set and the tokenizer of every source that has a ``world``, if they are missing.

    A tokenizer whose file was cut by a crash is trained anew. Of two processes that train the same one, one waits.

    Raises:
      UserError: the folder holds another data set, or the disk cannot be written.
    """
    sources = {name: source for name, source in config.sources.items() if source.world is not None}
    if sources:
        _prepare(sources, config.tokenizer)


def _prepare(sources: Mapping[str, SourceConfig], folder: str) -> None:
    for source in sources.values():
        world = source.world
        assert world is not None
        drawn: dict[str, Any] = {"size": world.size, "manners": world.manners}
        if source.format == "irgl":
            dataset.build(source.dir, seed=world.seed, train=world.train, held_out=world.held_out, **drawn)
        else:
            folders.build(source.dir, source.format, seed=world.seed, count=world.train, **drawn)
    # Looked at before the lock too: a tokenizer that is complete may be in a folder that is read-only.
    if tokenizer.is_complete(folder):
        return
    vocab = max(source.world.vocab for source in sources.values() if source.world)
    with locked(folder, "config.data.tokenizer", wait=True):
        if tokenizer.is_complete(folder):
            return  # trained by the process that held the lock
        if is_there(Path(folder) / "tokenizer.json"):
            logging.warning("%s: its tokenizer.json is empty or cut", folder)
        logging.info(
            "training a tokenizer of %d ids on %s", vocab, ", ".join(source.dir for source in sources.values())
        )
        texts = [modes.INITIAL_QUESTION, modes.IMPROVING_QUESTION]
        texts += [text for source in sources.values() for text in _texts(source)]
        tokenizer.train(texts, vocab, folder)


def _texts(source: SourceConfig) -> Iterator[str]:
    if source.format == "irgl":
        trajectories = open_source(source.dir, "train")
        for trajectory in (trajectories[i] for i in range(len(trajectories))):
            yield from (trajectory.prompt, trajectory.thinking1, trajectory.thinking2)
        return
    samples = CONVERSATIONS[source.format](source.dir)
    # No more of each than make whole trajectories common too.
    for record in (samples.read(i) for i in range(min(_SHORT_TEXTS, len(samples)))):
        for conversation in record.conversations:
            yield from (part.content for part in conversation.parts if isinstance(part, Text))
