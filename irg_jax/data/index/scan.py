"""Reads all records of a source once, for its index."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Source
from irg_jax.data.index import conversations, trajectories
from irg_jax.data.index.store import Rejected, StoredIndex, open_or_make
from irg_jax.data.sources.trajectories import TrajectorySource
from irg_jax.data.tokenizer import Tokenizer

T = TypeVar("T")

_CHUNK = 256  # records whose texts are tokenised together
_REPORT_SECONDS = 10.0


def index_trajectories(source: TrajectorySource, split: str, tokenizer: Tokenizer) -> StoredIndex:
    """The index of a split of trajectories, made if it is missing; see ``store.open_or_make``."""

    def make() -> tuple[dict[str, np.ndarray], list[Rejected]]:
        rejected: list[Rejected] = []
        rows = [np.zeros(0, trajectories.DTYPE)]
        for chunk in _chunks(source.read, source.where, len(source), split, rejected):
            found, bad = trajectories.describe([(i, *read) for i, read in chunk], tokenizer)
            rows.append(found)
            rejected += [Rejected(*record) for record in bad]
        return {"rows": np.concatenate(rows)}, rejected

    return open_or_make(source.directory, split, source.files, source.kind, tokenizer, make)


def index_conversations(source: Source, directory: Any, name: str, tokenizer: Tokenizer) -> StoredIndex:
    """The index of a source of conversations, made if it is missing; see ``store.open_or_make``."""

    def make() -> tuple[dict[str, np.ndarray], list[Rejected]]:
        rejected: list[Rejected] = []
        samples, parts = [np.zeros(0, conversations.SAMPLE)], [np.zeros(0, conversations.PART)]
        for chunk in _chunks(source.read, source.key, len(source), name, rejected):
            found = conversations.describe(chunk, tokenizer)
            samples.append(found.samples)
            parts.append(found.parts)
            rejected += [Rejected(*record) for record in found.rejected]
        return {"samples": np.concatenate(samples), "parts": np.concatenate(parts)}, rejected

    return open_or_make(directory, name, source.files, source.kind, tokenizer, make)


def _chunks(
    read: Callable[[int], T], key: Callable[[int], str], length: int, name: str, rejected: list[Rejected]
) -> Iterator[list[tuple[int, T]]]:
    """(index, record) in chunks; those that cannot be read are added to ``rejected``."""
    start = reported = time.monotonic()
    for first in range(0, length, _CHUNK):
        chunk = []
        for index in range(first, min(first + _CHUNK, length)):
            try:
                chunk.append((index, read(index)))
            except UserError as error:
                rejected.append(Rejected(index, key(index), str(error)))
        yield chunk
        now = time.monotonic()
        if now - reported > _REPORT_SECONDS:
            reported, done = now, first + len(chunk)
            left = (now - start) / done * (length - done)
            logging.info("indexing %s: %d of %d records, %.0f s left", name, done, length, left)
