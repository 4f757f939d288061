"""The real training step, compiled for a TPU topology on a machine that has none."""

import dataclasses
import os
import re
import time
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.data import layout, setup
from irg_jax.errors import UserError
from irg_jax.models.autoencoder import PixelAutoencoder
from irg_jax.models.config import ModelConfig, PixelConfig
from irg_jax.models.flux import FluxAutoencoder
from irg_jax.planning.hardware import Topology
from irg_jax.training import sharding
from irg_jax.training.program import Program
from irg_jax.training.state import Frozen


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler says of a step; bytes are a chip's.

    Attributes:
      fits: whether it compiled within the chip's memory.
      seconds: that it took.
      arguments: state, frozen weights and batch; of all programs of a step.
      temporaries: activations, gathered weights, workspace; of the program that needs the most.
      needed: what the compiler asked for, where it does not fit and says so.
      collectives: how often each kind stands in the program; one in a loop over layers counts once.
    """

    fits: bool
    seconds: float
    arguments: float
    temporaries: float
    needed: str
    collectives: dict[str, int]


def describe(topology: Topology) -> list:
    """The devices of a topology.

    Raises:
      UserError: libtpu is missing, or knows no such topology.
    """
    os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    from jax.experimental import topologies

    name = str(dataclasses.replace(topology, slices=1))
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, num_slices=topology.slices).devices
    except ModuleNotFoundError as error:
        raise UserError('--topology: TPU programs need libtpu to compile; pip install -e ".[plan]"') from error
    except Exception as error:
        raise UserError(f"--topology: {name}: {str(error).splitlines()[0]}") from error


def compile_step(built: Program, config: Any, model: ModelConfig, mesh: Mesh) -> Compiled:
    """Compiles a stage's step for the devices of a mesh.

    Args:
      built: of the stage, for that mesh.
      config: of the stage.
      model: with the attention backend of the platform.
      mesh: of ``describe``'s devices.
    """
    start = time.monotonic()
    shaped, step = built
    frozen, batch = Frozen(_autoencoder(model, mesh), shaped.base), _batch(config, model, mesh)
    try:
        programs = [lowered.compile() for lowered in step.lower(shaped.abstract, frozen, batch)]
    except jax.errors.JaxRuntimeError as error:
        found = re.search(
            r"Used ([\d.]+\w) of ([\d.]+\w) hbm|\(?([\d.]+G)\)? exceeds available HBM \(([\d.]+G)\)", str(error)
        )
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed = " of ".join(x for x in found.groups() if x) if found else str(error).splitlines()[0][:200]
        return Compiled(False, time.monotonic() - start, 0.0, 0.0, needed, {})
    memory: list[Any] = [program.memory_analysis() for program in programs]
    return Compiled(
        True,
        time.monotonic() - start,
        sum(part.argument_size_in_bytes for part in memory),
        max(part.temp_size_in_bytes for part in memory),
        "",
        _collectives(programs),
    )


def _batch(config: Any, model: ModelConfig, mesh: Mesh) -> dict:
    shardings = sharding.batch_shardings(mesh)
    spec = layout.batch_spec(config.data.batch_size, setup.budgets(config.data, model))

    def one(part: Any, where: NamedSharding) -> Any:
        is_leaf = lambda x: isinstance(x, tuple)  # noqa: E731
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(*leaf, sharding=where), part, is_leaf=is_leaf)

    return {name: one(part, shardings[name]) for name, part in spec.items()}


def _autoencoder(model: ModelConfig, mesh: Mesh) -> Any:
    if isinstance(model.autoencoder, PixelConfig):
        return PixelAutoencoder(model.autoencoder)
    config, everywhere = model.autoencoder, NamedSharding(mesh, P())
    shapes = nnx.eval_shape(lambda: FluxAutoencoder(config, rngs=nnx.Rngs(params=0)))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), shapes)


def _collectives(programs: list) -> dict[str, int]:
    try:
        text = "".join(program.as_text() for program in programs)
    except jax.errors.JaxRuntimeError:  # some asynchronous programs cannot be printed
        return {}
    kinds = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
    return {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}


def state_bytes(abstract: Any) -> float:
    """Of the parts of a tree of shapes with shardings that one device holds."""
    return float(sum(np.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(abstract)))
