"""A stage on a machine that is not at hand: memory, work, traffic, time and cost, and what would make it fit."""

import logging
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh

from irg_jax.benchmarks.train import make_batch
from irg_jax.data import setup
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.planning import compiled, estimate, scaling
from irg_jax.planning.hardware import Topology
from irg_jax.training import program, sharding
from irg_jax.training.flops import encode_flops
from irg_jax.training.state import count_weights, graph_of
from irg_jax.training.step import visible_pairs

# What is tried, one after another and each on top of the last, where a step does not fit.
REMEDIES = (
    {"model.remat": "full"},
    {"optim.moments_dtype": "bfloat16"},
    {"optim.ema_dtype": "bfloat16"},
    {"model.encode": "ahead"},
    {"model.remat": "offload"},
)


def plan(config: Any, topology: Topology, by_formula: bool = False) -> dict[str, Any]:
    """Memory, work, traffic, time and cost of a stage on a topology.

    Args:
      config: of the stage.
      topology: where.
      by_formula: compile nothing, which takes seconds instead of minutes; what cannot be compiled for never is.

    Raises:
      UserError: a mesh or batch that cannot be there, or an unknown topology.
    """
    model = ModelConfig.from_mapping(config.model).on("tpu" if topology.compiles else "gpu")
    by_formula = by_formula or not topology.compiles
    mesh = _mesh(config, topology, by_formula)
    program.check_rows(config, mesh)
    built = program.build(config, model, mesh, modes=len(config.data.mixture))
    shaped = built.shaped
    parts = {
        "params": compiled.state_bytes(shaped.abstract.params),
        "moments": compiled.state_bytes(shaped.abstract.opt),
        "EMA": compiled.state_bytes(shaped.abstract.ema),
    }
    load, weights = _load(config, model), count_weights(shaped.abstract.params)
    size = _picture(config, model)
    temporaries = estimate.temporary_bytes(model, weights, mesh.shape, load, _row_tokens(config), size)
    if not by_formula:
        assert isinstance(mesh, Mesh)
        done = compiled.compile_step(built, config, model, mesh)
        if done.fits:
            parts |= {"batch and frozen": done.arguments - sum(parts.values()), "temporaries": done.temporaries}
        # A program that the compiler lets through may still be larger than the chip.
        fits, needed, seconds = done.fits and sum(parts.values()) <= topology.chip.memory, done.needed, done.seconds
        collectives = done.collectives
    else:
        parts["temporaries"] = temporaries
        # What no formula sees: fragments, workspace, the network's buffers.
        fits, needed, seconds = sum(parts.values()) < 0.9 * topology.chip.memory, "", 0.0
        collectives = {}
    expected = estimate.estimate(model, weights, mesh.shape, topology, load, _kept_bytes(config))
    days = config.steps * expected.step_seconds / 86400
    return {
        "topology": str(topology),
        "chips": topology.chips,
        "mesh": " x ".join(f"{name} {size}" for name, size in mesh.shape.items()),
        "attention": model.attention,
        "remat": model.remat,
        "fits": fits,
        "needed": needed,
        "bytes a chip": parts,
        "temporaries by formula": temporaries,
        "memory of a chip": topology.chip.memory,
        "compile seconds": seconds,
        "collectives in the program": collectives,
        "weights": weights,
        "tokens a step": load.und + load.gen,
        "model FLOPs a step": expected.model_flops,
        "bytes received by a chip": expected.traffic,
        "FLOPs a byte of links": expected.model_flops / topology.chips / max(sum(expected.traffic.values()), 1.0),
        "seconds": expected.seconds,
        "bound": expected.bound,
        "step seconds": expected.step_seconds,
        "MFU": expected.mfu,
        "steps": config.steps,
        "days": days,
        "chip-hours": days * 24 * topology.chips,
    }


def scale(config: Any, topology: Topology) -> list[dict[str, Any]]:
    """The rows of ``scaling.table`` for chips of this kind, from as many as the batch has rows to 4,096.

    Raises:
      UserError: GPUs.
    """
    if not topology.compiles:
        raise UserError(f"--scaling: {topology.name} nodes hold too few chips for a formula of one network; name a TPU")
    model = ModelConfig.from_mapping(config.model)
    load, weights = _load(config, model), count_weights(graph_of(model)[1])
    counts = tuple(n for n in (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096) if n >= load.rows)
    return list(scaling.table(model, weights, load, topology.name, _kept_bytes(config), counts))


def _kept_bytes(config: Any) -> int:
    """Of both moments and the average of one weight."""
    return 2 * jnp.dtype(config.optim.moments_dtype).itemsize + jnp.dtype(config.optim.ema_dtype).itemsize


def _mesh(config: Any, topology: Topology, by_formula: bool) -> Mesh | AbstractMesh:
    if not by_formula:
        return sharding.make_mesh(config.mesh, compiled.describe(topology))
    sizes = sharding.axis_sizes(config.mesh, topology.chips)
    return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def _row_tokens(config: Any) -> int:
    return config.data.budgets.und + config.data.budgets.gen


def _picture(config: Any, model: ModelConfig) -> tuple[int, int]:
    return setup.budgets(config.data, model).image_size


def _load(config: Any, model: ModelConfig) -> estimate.Load:
    """Full rows, with the visible pairs a token of the benchmark's samples."""
    one = config.copy_and_resolve_references()
    with one.unlocked():
        one.data.batch_size = 1
    row = make_batch(one, model)
    tokens = sum(int((row[name]["position"] >= 0).sum()) for name in ("und", "gen"))
    pairs = sum(float(visible_pairs(row[name])) for name in ("und", "gen"))
    rows, budgets = config.data.batch_size, config.data.budgets
    return estimate.Load(
        rows,
        rows * budgets.und,
        rows * budgets.gen,
        rows * min(budgets.vit, budgets.und),
        pairs / tokens * rows * _row_tokens(config),
        budgets.images,
        encode_flops(model.autoencoder, _picture(config, model)),
    )


def remedies(
    config: Any, topology: Topology, by_formula: bool = False
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What makes it fit, tried one on top of the other."""
    changed, so_far = config.copy_and_resolve_references(), dict[str, Any]()
    for remedy in REMEDIES:
        with changed.unlocked():
            changed.update_from_flattened_dict(remedy)
        so_far |= remedy
        found = plan(changed, topology, by_formula)
        logging.info("tried %s: %s", so_far, "fits" if found["fits"] else f"does not fit, {found['needed']}")
        if found["fits"]:
            yield so_far, found
