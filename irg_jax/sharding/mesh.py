"""The mesh of devices, from the config."""

import dataclasses
import math

import jax
from jax.experimental import mesh_utils
from jax.sharding import Mesh

from irg_jax.core.errors import ConfigError

AXES = ("data", "fsdp", "context", "tensor")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; at most one may be −1, which takes all devices that are left.

    Attributes:
      data: data parallelism: shards the rows of a batch. It spans several slices of a pod.
      fsdp: fully sharded data parallelism: shards the rows of a batch, and the weights.
      context: context parallelism: shards the tokens of a row, and the weights.
      tensor: tensor parallelism: shards heads, MLPs and the vocabulary. Where it does not divide the heads, such as
        beyond the number of KV heads, each of its devices computes the attention of all heads.
    """

    data: int = 1
    fsdp: int = -1
    context: int = 1
    tensor: int = 1


def make_mesh(axes: MeshConfig, devices: list | None = None) -> Mesh:
    """A mesh with the axes of ``AXES``; with several slices of a pod, ``data`` spans the network between them.

    Args:
      axes: devices along each axis.
      devices: the devices to use, all by default.

    Raises:
      ConfigError: the axes do not multiply to the number of devices, or ``data`` is not a multiple of the slices.
    """
    devices = devices if devices is not None else jax.devices()
    sizes = axis_sizes(axes, len(devices))
    types, shape = (jax.sharding.AxisType.Auto,) * len(sizes), tuple(sizes.values())
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    # An axis may take part of a physical axis: 8 of a pod of 4x4x4 are one physical axis and half of another.
    if slices == 1:
        grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
        return Mesh(grid, tuple(sizes), axis_types=types)
    check_slices(sizes, slices)
    within, across = (sizes["data"] // slices, *shape[1:]), (slices, *[1] * (len(shape) - 1))
    grid = mesh_utils.create_hybrid_device_mesh(within, across, devices, allow_split_physical_axes=True)
    return Mesh(grid, tuple(sizes), axis_types=types)


def check_slices(sizes: dict[str, int], slices: int) -> None:
    """Checks that ``data`` can span the network between slices. Raises ConfigError unless it is a multiple of them."""
    if sizes["data"] % slices:
        raise ConfigError("mesh.data", f"{sizes['data']} must be a multiple of the {slices} slices, which it spans")


def axis_sizes(axes: MeshConfig, devices: int) -> dict[str, int]:
    """The devices along each axis of ``AXES``; see ``make_mesh``."""
    sizes = dataclasses.asdict(axes)
    free = [name for name, size in sizes.items() if size == -1]
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if len(free) == 1 and fixed > 0 and devices % fixed == 0:
        sizes[free[0]] = devices // fixed
    if min(sizes.values()) < 1 or math.prod(sizes.values()) != devices:
        shape = " x ".join(f"{name} {size}" for name, size in sizes.items())
        raise ConfigError("mesh", f"{shape} does not make {devices} devices; set one axis to -1 to take what is left")
    return sizes
