"""By formula, how a step scales to thousands of chips: with one row per chip (weak) or with the same rows (strong)."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.planning.estimate import Load, estimate
from irg_jax.planning.topology import Topology

# fsdp · context has to divide the decoder's width, 3584 = 7 · 512; tensor has to divide its four KV heads.
_MAX_SHARDS, _MAX_TENSOR = 512, 4

Axes = dict[str, int]


def weak(chips: int) -> Axes:
    """One row per chip: fsdp as far as the weights divide, then data."""
    fsdp = min(chips, _MAX_SHARDS)
    return dict(data=chips // fsdp, fsdp=fsdp, context=1, tensor=1)


def strong(chips: int, rows: int) -> Axes:
    """The same rows on more chips: context, then tensor, then data instead of fsdp."""
    fsdp, context = min(chips, rows), max(chips // rows, 1)
    tensor = 1
    while fsdp * context > _MAX_SHARDS and tensor < _MAX_TENSOR:
        context, tensor = context // 2, tensor * 2
    data = 1
    while fsdp * context > _MAX_SHARDS and fsdp > 1:
        fsdp, data = fsdp // 2, data * 2
    return dict(data=data, fsdp=fsdp, context=context, tensor=tensor)


def table(
    model: ModelConfig,
    execution: ExecutionConfig,
    weights: float,
    load: Load,
    chip: str,
    optimizer_bytes: int,
    counts: tuple[int, ...],
) -> Iterator[dict[str, Any]]:
    """One entry per number of chips and way to scale.

    Args:
      model: the architecture.
      execution: how it is executed.
      weights: number of weights.
      load: a global batch.
      chip: a key of ``topology.DIMENSIONS``; all chips are in one slice.
      optimizer_bytes: of both moments and the EMA, per weight.
      counts: numbers of chips, none below the number of rows.

    Yields:
      scaling, chips, mesh, tokens per step, step seconds, bound and MFU.
    """
    for chips in counts:
        factor = chips / load.rows
        larger_load = dataclasses.replace(
            load, rows=chips, **{name: factor * getattr(load, name) for name in ("und", "gen", "vit", "pairs")}
        )
        for name, axes, work in (("weak", weak(chips), larger_load), ("strong", strong(chips, load.rows), load)):
            found = estimate(model, execution, weights, axes, Topology(chip, (chips,), 1), work, optimizer_bytes)
            yield {
                "scaling": name,
                "chips": chips,
                "mesh": axes,
                "tokens per step": work.und + work.gen,
                "step seconds": found.step_seconds,
                "bound": found.bound,
                "MFU": found.mfu,
            }
