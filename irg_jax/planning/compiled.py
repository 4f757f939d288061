"""The real training step, compiled for a TPU topology on a machine without TPUs."""

import dataclasses
import importlib.util
import os
import re
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.core.errors import UserError
from irg_jax.data import factory
from irg_jax.data.packing import layout
from irg_jax.models.vae.factory import abstract_vae
from irg_jax.models.vae.moments import EncodedAhead
from irg_jax.planning.topology import Topology
from irg_jax.sharding.batches import abstract_batch
from irg_jax.training.config import StageConfig
from irg_jax.training.program import Program
from irg_jax.training.state import FrozenParams


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler reports about a step; bytes are per chip.

    Attributes:
      fits: whether it compiled within the chip's memory.
      seconds: of compiling.
      arguments: bytes of state, frozen weights and batch, summed over the programs of a step.
      temporaries: bytes of activations, gathered weights and workspace, of the program that needs most.
      needed: the compiler's own figures where the step does not fit; empty otherwise.
      collectives: how often the program text has each kind; one in a loop over layers counts once.
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
      UserError: libtpu is missing, or does not know the topology.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise UserError(
            "--topology: TPU programs need libtpu to compile; install the extra tpu: pip install 'irg-jax[tpu]', or "
            "give --formula"
        )
    os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    from jax.experimental import topologies

    name = str(dataclasses.replace(topology, slices=1))
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=name, num_slices=topology.slices).devices
    except Exception as error:
        raise UserError(f"--topology: {name}: {str(error).splitlines()[0]}") from error


def compile_step(program: Program, config: StageConfig, mesh: Mesh) -> Compiled:
    """Compiles a stage's step for the devices of a mesh.

    Args:
      program: of the stage, for that mesh.
      config: of the stage.
      mesh: of the devices of ``describe``.
    """
    start = time.monotonic()
    spec, step = program.spec, program.step
    frozen = FrozenParams(_vae(config, mesh), spec.base)
    rows = layout.batch_spec(config.data.batch_size, factory.make_budgets(config.data, config.model.geometry))
    batch = abstract_batch(rows, mesh)
    try:
        compiled = [lowered.compile() for lowered in step.lower(spec.abstract, frozen, batch)]
    except jax.errors.JaxRuntimeError as error:
        found = re.search(
            r"Used ([\d.]+\w) of ([\d.]+\w) hbm|\(?([\d.]+G)\)? exceeds available HBM \(([\d.]+G)\)", str(error)
        )
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        needed = " of ".join(x for x in found.groups() if x) if found else str(error).splitlines()[0][:200]
        return Compiled(False, time.monotonic() - start, 0.0, 0.0, needed, {})
    memory: list[Any] = [executable.memory_analysis() for executable in compiled]
    return Compiled(
        True,
        time.monotonic() - start,
        sum(part.argument_size_in_bytes for part in memory),
        max(part.temp_size_in_bytes for part in memory),
        "",
        _collectives(compiled),
    )


def _vae(config: StageConfig, mesh: Mesh) -> Any:
    if not config.needs_vae:
        return EncodedAhead(config.model.vae, digest="")
    replicated = NamedSharding(mesh, P())
    shapes = abstract_vae(config.model.vae)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=replicated), shapes)


def _collectives(programs: list) -> dict[str, int]:
    try:
        text = "".join(program.as_text() for program in programs)
    except jax.errors.JaxRuntimeError:  # some asynchronous programs have no text
        return {}
    kinds = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")
    return {kind: len(re.findall(rf" {kind}(?:-start)?\(", text)) for kind in kinds}


def state_bytes(abstract: Any) -> float:
    """Bytes that one device holds of a tree of shapes with shardings."""
    return float(sum(np.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(abstract)))
