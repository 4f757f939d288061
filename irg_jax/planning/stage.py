"""The plan of a stage on a topology: memory, work, traffic, time and cost, and what would make it fit."""

import dataclasses
import logging
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, Mesh

from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import UserError
from irg_jax.core.tree import count_weights
from irg_jax.data import factory
from irg_jax.models.lora import LoRAConfig
from irg_jax.models.transformer import abstract_model
from irg_jax.perf.synthetic import make_batch
from irg_jax.planning import compiled, estimate, scaling
from irg_jax.planning.topology import Topology
from irg_jax.sharding.mesh import axis_sizes, make_mesh
from irg_jax.training.config import StageConfig
from irg_jax.training.flops import encode_flops
from irg_jax.training.program import build_program, check_mesh
from irg_jax.training.step import visible_pairs

# Changes that are tried where a step does not fit, each on top of those before it.
REMEDIES = (
    {"execution.remat": "full"},
    {"optim.moments_dtype": "bfloat16"},
    {"optim.ema_dtype": "bfloat16"},
    {"execution.vae_encode": "separate"},
    {"execution.remat": "offload"},
)
LORA = LoRAConfig(rank=16, alpha=32.0, weights="blocks")  # what is proposed where the whole model does not fit


def plan(config: StageConfig, topology: Topology, by_formula: bool = False) -> dict[str, Any]:
    """Memory, work, traffic, time and cost of a stage on a topology.

    Args:
      config: of the stage.
      topology: where.
      by_formula: do not compile, which takes seconds instead of minutes. Always so where ``topology.compiles`` is
        False.

    Raises:
      UserError: a mesh or batch that does not fit the topology, or an unknown topology.
    """
    platform = "tpu" if topology.compiles else "gpu"
    model, execution = config.model, config.execution.on(platform)
    by_formula = by_formula or not topology.compiles
    mesh = _mesh(config, topology, by_formula)
    check_mesh(config, mesh)
    program = build_program(config, mesh, platform)
    spec = program.spec
    parts = {
        "params": compiled.state_bytes(spec.abstract.params),
        "moments": compiled.state_bytes(spec.abstract.opt),
        "EMA": compiled.state_bytes(spec.abstract.ema),
    }
    load, trained = _load(config), count_weights(spec.abstract.params)
    frozen = compiled.state_bytes(spec.base)  # the weights beside a LoRA
    weights = trained + count_weights(spec.base)
    temporaries = estimate.temporary_bytes(
        model, execution, weights, mesh.shape, load, _row_tokens(config), _image_size(config), trained
    )
    if not by_formula:
        assert isinstance(mesh, Mesh)
        done = compiled.compile_step(program, config, mesh)
        if done.fits:
            parts |= {"batch and frozen": done.arguments - sum(parts.values()), "temporaries": done.temporaries}
        # A program that compiles may still need more memory than the chip has.
        fits, needed, seconds = done.fits and sum(parts.values()) <= topology.chip.memory, done.needed, done.seconds
        collectives = done.collectives
    else:
        parts |= {"frozen": frozen, "temporaries": temporaries}
        # A tenth is left for what the formula does not count: fragmentation, workspace, network buffers.
        fits, needed, seconds = sum(parts.values()) < 0.9 * topology.chip.memory, "", 0.0
        collectives = {}
    expected = estimate.estimate(
        model, execution, weights, mesh.shape, topology, load, _optimizer_bytes(config), trained
    )
    days = config.steps * expected.step_seconds / 86400
    return {
        "topology": str(topology),
        "chips": topology.chips,
        "mesh": " x ".join(f"{name} {size}" for name, size in mesh.shape.items()),
        "attention": execution.attention,
        "remat": execution.remat,
        "fits": fits,
        "needed": needed,
        "bytes per chip": parts,
        "temporaries by formula": temporaries,
        "memory per chip": topology.chip.memory,
        "compile seconds": seconds,
        "collectives in the program": collectives,
        "weights": weights,
        "tokens per step": load.und + load.gen,
        "model FLOPs per step": expected.model_flops,
        "bytes received per chip": expected.traffic,
        "FLOPs per byte received": expected.model_flops / topology.chips / max(sum(expected.traffic.values()), 1.0),
        "seconds": expected.seconds,
        "bound": expected.bound,
        "step seconds": expected.step_seconds,
        "MFU": expected.mfu,
        "steps": config.steps,
        "days": days,
        "chip-hours": days * 24 * topology.chips,
    }


def scale(config: StageConfig, topology: Topology) -> list[dict[str, Any]]:
    """The entries of ``scaling.table`` for chips of this kind, from one chip per row of the batch to 4,096.

    Raises:
      UserError: the topology is of GPUs.
    """
    if not topology.compiles:
        raise UserError(
            f"--scaling: {topology.name} nodes have too few chips for a formula of one slice; give a TPU topology"
        )
    load, weights = _load(config), count_weights(abstract_model(config.model)[1])
    counts = tuple(n for n in (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096) if n >= load.rows)
    return list(
        scaling.table(config.model, config.execution, weights, load, topology.name, _optimizer_bytes(config), counts)
    )


def _optimizer_bytes(config: StageConfig) -> int:
    """Bytes of both moments and the EMA, per weight."""
    return 2 * jnp.dtype(config.optim.moments_dtype).itemsize + jnp.dtype(config.optim.ema_dtype).itemsize


def _mesh(config: StageConfig, topology: Topology, by_formula: bool) -> Mesh | AbstractMesh:
    if not by_formula:
        return make_mesh(config.mesh, compiled.describe(topology))
    sizes = axis_sizes(config.mesh, topology.chips)
    return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def _row_tokens(config: StageConfig) -> int:
    return config.data.budgets.und + config.data.budgets.gen


def _image_size(config: StageConfig) -> tuple[int, int]:
    """(height, width) of the largest image that a step encodes."""
    if config.data.latents:
        return 0, 0
    return factory.make_budgets(config.data, config.model.geometry).image_size


def _load(config: StageConfig) -> estimate.Load:
    """The load of full rows, with as many visible pairs per token as the samples of ``perf.synthetic`` have."""
    row = make_batch(dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=1)))
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
        encode_flops(config.model.vae, _image_size(config)),
    )


def remedies(
    config: StageConfig, topology: Topology, by_formula: bool = False
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The changes (values by dotted key) with which the stage fits, and its plan with them.

    Each of ``REMEDIES`` is tried on top of those before it.
    """
    changed, changes = config, dict[str, Any]()
    for remedy in REMEDIES:
        changed, changes = replaced(changed, remedy), changes | remedy
        found = plan(changed, topology, by_formula)
        what = "fits" if found["fits"] else ", ".join(filter(None, ("does not fit", found["needed"])))
        logging.info("tried %s: %s", " ".join(f"{key}={value}" for key, value in changes.items()), what)
        if found["fits"]:
            yield changes, found


def lora_plan(config: StageConfig, topology: Topology, by_formula: bool = False) -> dict[str, Any] | None:
    """The plan of a LoRA instead of the whole model, where that is what fits; else None."""
    if config.lora is not None:
        return None
    # Where the base is makes no difference to a plan.
    smaller = replaced(config, {"init_from": config.init_from or "base", "lora": LORA})
    changes = {key: value for remedy in REMEDIES for key, value in remedy.items()} | {"execution.remat": "full"}
    found = plan(replaced(smaller, changes), topology, by_formula)
    return found if found["fits"] else None
