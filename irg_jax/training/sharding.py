"""Where arrays live: a mesh from the config, and one table from logical axis names to mesh axes."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.errors import UserError
from irg_jax.models.placement import ROWS, TOKENS

AXES = ("data", "fsdp", "context", "tensor")


@dataclasses.dataclass(frozen=True)
class Rules:
    """The mesh axes that each logical weight axis is split over; none keeps it whole on every device.

    Devices that share the tokens of a row share the weights too: a pod that is cut by ``context`` holds no more of them
    than one that is cut by ``fsdp``.
    """

    layers: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ("tensor",)
    embed: tuple[str, ...] = ("fsdp", "context")
    heads: tuple[str, ...] = ("tensor",)
    kv_heads: tuple[str, ...] = ("tensor",)
    mlp: tuple[str, ...] = ("tensor",)
    vit_embed: tuple[str, ...] = ("fsdp",)  # 1152 wide: it does not divide as far as the decoder's 3584
    vit_heads: tuple[str, ...] = ("tensor",)
    vit_mlp: tuple[str, ...] = ("tensor",)


def make_mesh(axes: Mapping[str, int], devices: list | None = None) -> Mesh:
    """A mesh with the axes of ``AXES``; of several slices of a pod, ``data`` spans the network between them.

    Args:
      axes: devices along each axis, 1 where one is not named; at most one may be −1, "whatever is left".
      devices: those to use, all by default.

    Raises:
      UserError: an unknown axis, or axes that do not multiply to the number of devices.
    """
    devices = devices if devices is not None else jax.devices()
    sizes = axis_sizes(axes, len(devices))
    types, shape = (jax.sharding.AxisType.Auto,) * len(sizes), tuple(sizes.values())
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    # An axis may take a part of a direction of the pod: 8 of 4x4x4 are one direction and half of another.
    if slices == 1:
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
        return Mesh(grid, tuple(sizes), axis_types=types)
    if sizes["data"] % slices:
        raise UserError(f"mesh.data: {sizes['data']} must be a multiple of the {slices} slices, which it spans")
    inside, across = (sizes["data"] // slices, *shape[1:]), (slices, *[1] * (len(shape) - 1))
    grid = mesh_utils.create_hybrid_device_mesh(inside, across, devices, allow_split_physical_axes=True)
    return Mesh(grid, tuple(sizes), axis_types=types)


def axis_sizes(axes: Mapping[str, int], devices: int) -> dict[str, int]:
    """The devices along each axis of ``AXES``; see ``make_mesh``."""
    unknown = set(axes) - set(AXES)
    if unknown:
        raise UserError(f"mesh.{min(unknown)}: no such axis; a mesh has {', '.join(AXES)}")
    sizes = {name: axes.get(name, 1) for name in AXES}
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and devices % fixed == 0:
        sizes[free[0]] = devices // fixed
    if min(sizes.values()) < 1 or math.prod(sizes.values()) != devices:
        shape = " x ".join(f"{name} {size}" for name, size in sizes.items())
        raise UserError(f"mesh: {shape} does not make {devices} devices; set one axis to -1 to take what is left")
    return sizes


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
        names = leaf.get_metadata("out_sharding") or ()
        axes: list[tuple[str, ...]] = [table[name] if name else () for name in names]
        for size, split in zip(shape, axes, strict=True):
            parts = math.prod(mesh.shape[axis] for axis in split)
            if size % parts:
                name, blamed = jax.tree_util.keystr(path, simple=True, separator="."), " x mesh.".join(split)
                raise UserError(f"mesh.{blamed}: {parts} does not divide the {size} of {name} {shape}")
        return leaf.replace(NamedSharding(mesh, P(*(_entry(split) for split in axes))))

    return jax.tree_util.tree_map_with_path(one, abstract, is_leaf=lambda x: isinstance(x, nnx.Variable))


def _entry(split: tuple[str, ...]) -> str | tuple[str, ...] | None:
    """As a PartitionSpec writes it."""
    return split[0] if len(split) == 1 else split or None


def batch_shardings(mesh: Mesh) -> dict[str, NamedSharding]:
    """For each part of a batch: rows over data and fsdp, the tokens of both streams and of the ViT over context."""
    rows, tokens = NamedSharding(mesh, P(ROWS)), NamedSharding(mesh, P(ROWS, TOKENS))
    return {"und": tokens, "gen": tokens, "vit": tokens, "images": rows, "sizes": rows}


def everywhere(tree: Any, mesh: Mesh) -> Any:
    """Arrays that every process has, whole on every device."""
    return jax.device_put(jax.tree.map(np.asarray, tree), NamedSharding(mesh, P()))


def to_devices(batch: dict, shardings: Mapping[str, NamedSharding]) -> dict:
    """This process's rows to its devices, as parts of global arrays."""

    def place(part: Any, sharding: NamedSharding) -> Any:
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), part)

    return {name: place(part, shardings[name]) for name, part in batch.items()}
