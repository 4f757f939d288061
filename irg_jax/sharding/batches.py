"""Batches and replicated arrays on a mesh: which rows a process builds, and how they become global arrays."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.sharding.activations import ROWS, TOKENS


@dataclasses.dataclass(frozen=True)
class LocalRows:
    """The rows of a global batch that one process builds.

    Attributes:
      batch_size: rows of the global batch.
      rows: indices of this process's rows in it, in order; processes whose devices share a row both have it.
    """

    batch_size: int
    rows: tuple[int, ...]


def local_rows(mesh: Mesh, batch_size: int, process_index: int) -> LocalRows:
    """The rows that the devices of a process hold: only the mesh knows them.

    Args:
      mesh: the mesh, whose axes data and fsdp shard the rows.
      batch_size: rows of the global batch, a multiple of the row shards.
      process_index: the process.
    """
    held = NamedSharding(mesh, P(ROWS)).devices_indices_map((batch_size,))
    rows = {
        row
        for device, (index,) in held.items()
        if _process_of(device) == process_index
        for row in range(*index.indices(batch_size))
    }
    return LocalRows(batch_size, tuple(sorted(rows)))


def _process_of(device: jax.Device) -> int:
    return device.process_index


def batch_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """The shardings of all parts that a batch may have.

    Rows are sharded over data and fsdp, tokens of the streams and the ViT over context.
    """
    rows, tokens = NamedSharding(mesh, P(ROWS)), NamedSharding(mesh, P(ROWS, TOKENS))
    return {"und": tokens, "gen": tokens, "vit": tokens, "images": rows, "moments": rows, "sizes": rows}


def abstract_batch(spec: Mapping[str, Any], mesh: Mesh) -> dict:
    """Shapes, dtypes and shardings of a global batch, to compile for.

    Args:
      spec: tree of (shape, dtype), see ``data.packing.layout.batch_spec``.
      mesh: the mesh that shards it.
    """

    def abstract(part: Any, sharding: NamedSharding) -> Any:
        is_leaf = lambda x: isinstance(x, tuple)  # noqa: E731
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(*leaf, sharding=sharding), part, is_leaf=is_leaf)

    shardings = batch_shardings(mesh)
    return {name: abstract(part, shardings[name]) for name, part in spec.items()}


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Arrays that every process has, replicated on all devices of the mesh."""
    return jax.device_put(jax.tree.map(np.asarray, tree), NamedSharding(mesh, P()))


def to_host(tree: Any, mesh: Mesh) -> Any:
    """The whole arrays on the host, on every process; all have to call it if the mesh spans several."""
    if jax.process_count() > 1:
        tree = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P()))(tree)
    return jax.device_get(tree)


def shard_batch(batch: dict, shardings: Mapping[str, NamedSharding], local: LocalRows) -> dict:
    """Makes global arrays from the rows of this process.

    Args:
      batch: arrays [len(local.rows), …] of the rows ``local.rows``.
      shardings: of ``batch_shardings``.
      local: of ``local_rows`` on the same mesh.

    Returns:
      arrays [local.batch_size, …]; each device gets its rows and tokens.

    Raises:
      ValueError: an array that does not have the rows of this process.
    """
    first_local = {row: i for i, row in enumerate(local.rows)}

    def shard(name: str, x: np.ndarray, sharding: NamedSharding) -> jax.Array:
        if x.shape[0] != len(local.rows):
            raise ValueError(f"{name}: {x.shape[0]} rows, but this process holds the rows {local.rows} of the batch")

        def shard_of_device(index: Any) -> np.ndarray:
            start, stop, _ = index[0].indices(local.batch_size)
            first = first_local[start]  # a device's rows are consecutive, and so they are among those of its process
            return x[(slice(first, first + stop - start), *index[1:])]

        return jax.make_array_from_callback((local.batch_size, *x.shape[1:]), sharding, shard_of_device)

    return {
        name: jax.tree.map(lambda x, name=name: shard(name, np.asarray(x), shardings[name]), part)
        for name, part in batch.items()
    }
