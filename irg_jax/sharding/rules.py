"""Sharding rules: from the logical axis names of weights to mesh axes, and the shardings of a whole state."""

import dataclasses
import math
from typing import Any

import jax
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ShardingRules:
    """The mesh axes over which each logical axis of the weights is sharded; () replicates it.

    Weights are sharded over ``context`` as over ``fsdp``, so that context parallelism takes no more memory per device.
    """

    layers: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ("tensor",)
    embed: tuple[str, ...] = ("fsdp", "context")
    heads: tuple[str, ...] = ("tensor",)
    kv_heads: tuple[str, ...] = ("tensor",)
    mlp: tuple[str, ...] = ("tensor",)
    vit_embed: tuple[str, ...] = ("fsdp",)  # its width of 1152 has fewer divisors than the decoder's 3584
    vit_heads: tuple[str, ...] = ("tensor",)
    vit_mlp: tuple[str, ...] = ("tensor",)


def state_shardings(abstract: Any, mesh: Any, rules: ShardingRules) -> Any:
    """A sharding for every leaf of a state (weights, EMA, optimizer moments), from the logical names of its weights.

    Args:
      abstract: a tree of shapes in which weights are ``nnx.Param`` with ``out_sharding`` metadata.
      mesh: the mesh; an ``AbstractMesh`` serves to check that it divides all dimensions.
      rules: from logical axes to mesh axes.

    Raises:
      ConfigError: mesh axes do not divide a dimension of a weight; it names both.
    """
    table = dataclasses.asdict(rules)

    def sharding_of(path: tuple, leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return NamedSharding(mesh, P())
        shape = leaf.get_value().shape
        names = leaf.get_metadata("out_sharding") or ()
        axes: list[tuple[str, ...]] = [table[name] if name else () for name in names]
        for size, split in zip(shape, axes, strict=True):
            parts = math.prod(mesh.shape[axis] for axis in split)
            if size % parts:
                name, axes_text = jax.tree_util.keystr(path, simple=True, separator="."), " x mesh.".join(split)
                raise ConfigError(f"mesh.{axes_text}", f"{parts} does not divide the {size} of {name} {shape}")
        return leaf.replace(NamedSharding(mesh, P(*(_entry(split) for split in axes))))

    return jax.tree_util.tree_map_with_path(sharding_of, abstract, is_leaf=lambda x: isinstance(x, nnx.Variable))


def _entry(split: tuple[str, ...]) -> str | tuple[str, ...] | None:
    """The entry of a PartitionSpec for one dimension."""
    return split[0] if len(split) == 1 else split or None


def with_shardings(abstract: Any, shardings: Any) -> Any:
    """A tree of shapes with their shardings, for restoring a checkpoint directly into shards."""
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)
