"""Where arrays live: a mesh from the config, and one table from logical axis names to mesh axes."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.errors import UserError
from irg_jax.models.placement import ROWS, TOKENS

AXES = ("data", "fsdp", "context", "tensor")


@dataclasses.dataclass(frozen=True)
class Rules:
    """The mesh axis that each logical weight axis is split over; None keeps it whole on every device."""

    layers: str | None = None
    vocab: str | None = "tensor"
    embed: str | None = "fsdp"
    heads: str | None = "tensor"
    kv_heads: str | None = "tensor"
    mlp: str | None = "tensor"
    vit_embed: str | None = "fsdp"
    vit_heads: str | None = "tensor"
    vit_mlp: str | None = "tensor"


def make_mesh(axes: Mapping[str, int], devices: list | None = None) -> Mesh:
    """A mesh with the axes of ``AXES``.

    Args:
      axes: devices along each axis, 1 where one is not named; at most one may be −1, "whatever is left".
      devices: those to use, all by default.

    Raises:
      UserError: an unknown axis, or axes that do not multiply to the number of devices.
    """
    devices = devices if devices is not None else jax.devices()
    unknown = set(axes) - set(AXES)
    if unknown:
        raise UserError(f"mesh.{min(unknown)}: no such axis; a mesh has {', '.join(AXES)}")
    sizes = {name: axes.get(name, 1) for name in AXES}
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and len(devices) % fixed == 0:
        sizes[free[0]] = len(devices) // fixed
    if min(sizes.values()) < 1 or math.prod(sizes.values()) != len(devices):
        shape = " x ".join(f"{name} {size}" for name, size in sizes.items())
        raise UserError(f"mesh: {shape} does not make {len(devices)} devices; set one axis to -1 to take what is left")
    types = (jax.sharding.AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=types, devices=devices)


def state_shardings(abstract: Any, mesh: Mesh, rules: Rules) -> Any:
    """A sharding for every leaf of a state (weights, EMA, optimizer moments), from the logical names of its weights.

    Args:
      abstract: a tree of shapes in which weights are ``nnx.Param`` with ``out_sharding`` metadata.
      mesh: the mesh.
      rules: logical name to mesh axis.

    Raises:
      UserError: a dimension that its mesh axis does not divide, by the weight's name.
    """
    table = dataclasses.asdict(rules)

    def one(path: tuple, leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return NamedSharding(mesh, P())
        shape = leaf.get_value().shape
        axes = tuple(table[name] if name else None for name in leaf.get_metadata("out_sharding") or ())
        for size, axis in zip(shape, axes, strict=True):
            if axis and size % mesh.shape[axis]:
                name = jax.tree_util.keystr(path, simple=True, separator=".")
                raise UserError(f"mesh.{axis}: {mesh.shape[axis]} does not divide the {size} of {name} {shape}")
        return leaf.replace(NamedSharding(mesh, P(*axes)))

    return jax.tree_util.tree_map_with_path(one, abstract, is_leaf=lambda x: isinstance(x, nnx.Variable))


def batch_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """For each part of a batch: rows over data and fsdp, the tokens of both streams over context."""
    rows, tokens = NamedSharding(mesh, P(ROWS)), NamedSharding(mesh, P(ROWS, TOKENS))
    return {"und": tokens, "gen": tokens, "vit": rows, "images": rows, "sizes": rows}


def everywhere(tree: Any, mesh: Mesh) -> Any:
    """Arrays that every process has, whole on every device."""
    return jax.device_put(jax.tree.map(np.asarray, tree), NamedSharding(mesh, P()))


def to_devices(batch: dict, shardings: Mapping[str, NamedSharding]) -> dict:
    """This process's rows to its devices, as parts of global arrays."""

    def place(part: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), part)

    return {name: place(part, shardings[name]) for name, part in batch.items()}
