"""Batches and replicated arrays on a mesh."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.sharding.activations import ROWS, TOKENS


def batch_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """The sharding of each part of a batch: rows over data and fsdp, tokens of the streams and the ViT over context."""
    rows, tokens = NamedSharding(mesh, P(ROWS)), NamedSharding(mesh, P(ROWS, TOKENS))
    return {"und": tokens, "gen": tokens, "vit": tokens, "images": rows, "sizes": rows}


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Arrays that every process has, replicated on all devices of the mesh."""
    return jax.device_put(jax.tree.map(np.asarray, tree), NamedSharding(mesh, P()))


def shard_batch(batch: dict, shardings: Mapping[str, NamedSharding]) -> dict:
    """Puts the rows of this process on its devices, as shards of global arrays."""

    def shard(part: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), part)

    return {name: shard(part, shardings[name]) for name, part in batch.items()}
