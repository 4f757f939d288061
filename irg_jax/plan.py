"""Says whether a config fits a machine that is not at hand, and how fast it could be there.

    python -m irg_jax.plan --config configs/irg_7b_stage1.py --topology v5p:2x2x2
    python -m irg_jax.plan --config configs/irg_7b_stage1.py --topology v5p:4x4x4 --config.mesh.context=8

TPU programs are compiled for the topology, whole, without one; GPU nodes are planned by formula.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.sharding import AbstractMesh, AxisType, Mesh

from irg_jax import config as configs
from irg_jax.benchmarks.train import make_batch
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.planning import compiled, estimate, hardware, scaling
from irg_jax.planning.hardware import Topology
from irg_jax.training import program, sharding
from irg_jax.training.state import count_weights, graph_of

_TOPOLOGY = flags.DEFINE_string("topology", None, "such as v5p:2x2x2, v5e:16x16, v6e:8x8 or h100:8", required=True)
_SLICES = flags.DEFINE_integer("slices", 1, "of that topology, or nodes, joined by the network", lower_bound=1)
_SCALING = flags.DEFINE_bool("scaling", False, "show by formula how the step scales to 4,096 of these chips, too")
_JSON = flags.DEFINE_string("json", None, "a file for the plan")

_SIZES = {"float32": 4, "bfloat16": 2}

# What is tried, one after another and each on top of the last, where a step does not fit.
REMEDIES = (
    {"model.remat": "full"},
    {"optim.moments_dtype": "bfloat16"},
    {"optim.ema_dtype": "bfloat16"},
    {"model.remat": "offload"},
)


def main(config: Any) -> int:
    """Prints the plan; status 0 if the step fits as the config says, else 1."""
    configs.log_plainly()
    jax.config.update("jax_platforms", "cpu")
    topology = hardware.parse(_TOPOLOGY.value, _SLICES.value)
    config = configs.resolve(config, Path.cwd())
    found = plan(config, topology)
    _print(found)
    remedy: dict[str, Any] = {}
    if not found["fits"]:
        remedy, better = next(remedies(config, topology), ({}, found))
        if remedy:
            logging.info("\nit fits with %s:", " ".join(f"--config.{key}={value}" for key, value in remedy.items()))
            _print(better)
        else:
            logging.info("\nnothing that was tried makes it fit; take more chips, or a larger mesh.context")
    if _SCALING.value:
        found["scaling"] = scale(config, topology)
        for row in found["scaling"]:
            logging.info("%(scaling)-6s %(chips)5d chips, %(tokens)11.0f tokens: %(step seconds)7.3f s, %(bound)s", row)
            logging.info("       MFU %.0f %%, mesh %s", 100 * row["MFU"], row["mesh"])
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(found | {"remedy": remedy}, indent=1), encoding="utf-8")
    return 0 if found["fits"] else 1


def plan(config: Any, topology: Topology) -> dict[str, Any]:
    """Memory, work, traffic, time and cost of a stage on a topology.

    Raises:
      UserError: a mesh or batch that cannot be there, or an unknown topology.
    """
    model = ModelConfig.from_mapping(config.model).on("tpu" if topology.compiles else "gpu")
    mesh = _mesh(config, topology)
    program.check_rows(config, mesh)
    shaped = program.build(config, model, mesh, modes=len(config.data.mixture)).shaped
    parts = {
        "params": compiled.state_bytes(shaped.abstract.params),
        "moments": compiled.state_bytes(shaped.abstract.opt),
        "EMA": compiled.state_bytes(shaped.abstract.ema),
    }
    load = _load(config, model)
    if topology.compiles:
        assert isinstance(mesh, Mesh)
        done = compiled.compile_step(config, model, mesh)
        if done.fits:
            parts |= {"batch and frozen": done.arguments - sum(parts.values()), "temporaries": done.temporaries}
        # A program that the compiler lets through may still be larger than the chip.
        fits, needed, seconds = done.fits and sum(parts.values()) <= topology.chip.memory, done.needed, done.seconds
        collectives = done.collectives
    else:
        rows, tokens = (
            load.rows / (mesh.shape["data"] * mesh.shape["fsdp"]),
            _row_tokens(config) / mesh.shape["context"],
        )
        parts["temporaries"] = estimate.kept_bytes(model, rows, tokens) + _gathered(model, shaped, mesh)
        # What no formula sees: fragments, workspace, the network's buffers.
        fits, needed, seconds = sum(parts.values()) < 0.9 * topology.chip.memory, "", 0.0
        collectives = {}
    weights = count_weights(shaped.abstract.params)
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
    return 2 * _SIZES[config.optim.moments_dtype] + _SIZES[config.optim.ema_dtype]


def _mesh(config: Any, topology: Topology) -> Mesh | AbstractMesh:
    if topology.compiles:
        return sharding.make_mesh(config.mesh, compiled.describe(topology))
    sizes = sharding.axis_sizes(config.mesh, topology.chips)
    return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def _row_tokens(config: Any) -> int:
    return config.data.budgets.und + config.data.budgets.gen


def _load(config: Any, model: ModelConfig) -> estimate.Load:
    """Full rows, with the visible pairs a token of the benchmark's samples."""
    one = config.copy_and_resolve_references()
    with one.unlocked():
        one.data.batch_size = 1
    row = make_batch(one, model)
    tokens = sum(int((row[name]["position"] >= 0).sum()) for name in ("und", "gen"))
    pairs = sum(
        float(np.where(row[name]["position"] >= 0, row[name]["end"] - row[name]["start"], 0).sum())
        for name in ("und", "gen")
    )
    rows, budgets = config.data.batch_size, config.data.budgets
    return estimate.Load(
        rows,
        rows * budgets.und,
        rows * budgets.gen,
        rows * min(budgets.vit, budgets.und),
        pairs / tokens * rows * _row_tokens(config),
    )


def _gathered(model: ModelConfig, shaped: Any, mesh: Any) -> float:
    """Gradients in shards, and two layers' weights whole in the compute type."""
    shards = mesh.shape["fsdp"] * mesh.shape["context"] * mesh.shape["tensor"]
    weights = count_weights(shaped.abstract.params)
    return 4 * weights / shards + 2 * 2 * weights / model.decoder.layers / mesh.shape["tensor"]


def remedies(config: Any, topology: Topology) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What makes it fit, tried one on top of the other."""
    changed, so_far = config.copy_and_resolve_references(), dict[str, Any]()
    for remedy in REMEDIES:
        with changed.unlocked():
            changed.update_from_flattened_dict(remedy)
        so_far |= remedy
        found = plan(changed, topology)
        logging.info("tried %s: %s", so_far, "fits" if found["fits"] else f"does not fit, {found['needed']}")
        if found["fits"]:
            yield so_far, found


def _print(found: dict[str, Any]) -> None:
    used, limit = sum(found["bytes a chip"].values()) / 1e9, found["memory of a chip"] / 1e9
    how = "compiled" if found["compile seconds"] else "by formula"
    logging.info("%s, %d chips, mesh %s", found["topology"], found["chips"], found["mesh"])
    verdict = "fits" if found["fits"] else f"DOES NOT FIT {found['needed']}".strip()
    verdict = f"{verdict}: {used:.1f} of {limit:.0f} GB a chip"
    logging.info("%s (%s, %.0f s; attention %s, remat %s)", verdict, how, found["compile seconds"], found["attention"],
                 found["remat"])  # fmt: skip
    for name, value in found["bytes a chip"].items():
        logging.info("  %-40s %8.2f GB", name, value / 1e9)
    logging.info("a step: %.0f tokens, %.3g model FLOPs", found["tokens a step"], found["model FLOPs a step"])
    for name, value in found["bytes received by a chip"].items():
        logging.info("  %-40s %8.2f GB a chip", name, value / 1e9)
    for name, value in found["seconds"].items():
        logging.info("  %-40s %8.2f s", name, value)
    logging.info("at best %.2f s, bound by %s, MFU %.0f %%; %d steps are %.1f days, %.0f chip-hours",
                 found["step seconds"], found["bound"], 100 * found["MFU"], found["steps"], found["days"],
                 found["chip-hours"])  # fmt: skip
    if any(found["collectives in the program"].values()):
        logging.info("collectives in the program: %s", found["collectives in the program"])


if __name__ == "__main__":
    configs.run(main)
