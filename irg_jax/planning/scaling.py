"""By formula, how a stage's step scales to thousands of chips: with as many rows as chips, and with rows that stay."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from irg_jax.models.config import ModelConfig
from irg_jax.planning.estimate import Load, estimate
from irg_jax.planning.hardware import Topology

# The decoder's width, 3584 = 7 · 512, is what fsdp · context has to divide; its four KV heads bound tensor.
_MOST_SHARDS, _MOST_TENSOR = 512, 4

Axes = dict[str, int]


def weak(chips: int) -> Axes:
    """A row a chip: fsdp as far as the weights divide, then data."""
    fsdp = min(chips, _MOST_SHARDS)
    return dict(data=chips // fsdp, fsdp=fsdp, context=1, tensor=1)


def strong(chips: int, rows: int) -> Axes:
    """The same rows on more chips: context, then tensor, then data instead of fsdp."""
    fsdp, context = min(chips, rows), max(chips // rows, 1)
    tensor = 1
    while fsdp * context > _MOST_SHARDS and tensor < _MOST_TENSOR:
        context, tensor = context // 2, tensor * 2
    data = 1
    while fsdp * context > _MOST_SHARDS and fsdp > 1:
        fsdp, data = fsdp // 2, data * 2
    return dict(data=data, fsdp=fsdp, context=context, tensor=tensor)


def table(
    model: ModelConfig, weights: float, load: Load, chip: str, kept: int, counts: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """One entry for each number of chips and way to scale.

    Args:
      model: whose step it is.
      weights: numbers in it.
      load: the published global batch.
      chip: of ``hardware.CHIPS``; all of them in one slice.
      kept: bytes of both moments and the average of a weight.
      counts: of chips, not fewer than rows.
    """
    for chips in counts:
        factor = chips / load.rows
        grown = dataclasses.replace(
            load, rows=chips, **{name: factor * getattr(load, name) for name in ("und", "gen", "vit", "pairs")}
        )
        for name, axes, work in (("weak", weak(chips), grown), ("strong", strong(chips, load.rows), load)):
            found = estimate(model, weights, axes, Topology(chip, (chips,), 1), work, kept)
            yield {
                "scaling": name,
                "chips": chips,
                "mesh": axes,
                "tokens": work.und + work.gen,
                "step seconds": found.step_seconds,
                "bound": found.bound,
                "MFU": found.mfu,
            }
