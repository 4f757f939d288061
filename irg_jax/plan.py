"""Says whether a config fits a machine, which need not be available, and how fast a step could be there.

    python -m irg_jax.plan --config configs/irg_7b_stage1.py --topology v5p:2x2x2
    python -m irg_jax.plan --config configs/irg_7b_stage1.py --topology v5p:4x4x4 --config.mesh.context=8

For TPUs the whole step is compiled, which needs no TPU; GPU nodes, and everything with ``--formula``, are planned by
formula.
"""

import logging
from pathlib import Path
from typing import Any

import jax
from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.config.schema import resolve
from irg_jax.core.outputs import check_output_file
from irg_jax.core.small_files import write_json
from irg_jax.experiment.config import ExperimentConfig, parse_config
from irg_jax.planning import stage
from irg_jax.planning import topology as hardware
from irg_jax.training.config import StageConfig

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_TOPOLOGY = flags.DEFINE_string(
    "topology", None, "such as v5p:2x2x2, v5e:16x16, v6e:8x8 or h100:8", required=True, flag_values=FLAGS
)
_FORMULA = flags.DEFINE_bool(
    "formula", False, "do not compile: seconds instead of minutes, memory by formula", flag_values=FLAGS
)
_SLICES = flags.DEFINE_integer(
    "slices", 1, "number of such slices, or nodes, joined by the network", lower_bound=1, flag_values=FLAGS
)
_SCALING = flags.DEFINE_bool(
    "scaling", False, "also show, by formula, how a step scales to 4,096 of these chips", flag_values=FLAGS
)
_JSON = flags.DEFINE_string("json", None, "file for the plan", flag_values=FLAGS)


def main(config: StageConfig | ExperimentConfig) -> int:
    """Prints the plan of each stage; returns status 0 if all fit without changes to the config, else 1."""
    log_plainly()
    jax.config.update("jax_platforms", "cpu")
    topology = hardware.parse(_TOPOLOGY.value, _SLICES.value)
    if _JSON.value:
        check_output_file(_JSON.value, "--json")
    config = resolve(config, Path.cwd())
    if isinstance(config, StageConfig):
        plans = _plan(config, topology)
        fits = plans["fits"]
    else:
        plans = {}
        for name, one in sorted(config.stages.items()):
            logging.info("\n== %s", name)
            plans[name] = _plan(one, topology)
        fits = all(found["fits"] for found in plans.values())
    if _JSON.value:
        write_json(_JSON.value, plans)
    return 0 if fits else 1


def _plan(config: StageConfig, topology: hardware.Topology) -> dict[str, Any]:
    found = stage.plan(config, topology, _FORMULA.value)
    _print(found)
    remedy: dict[str, Any] = {}
    if not found["fits"]:
        remedy, better = next(stage.remedies(config, topology, _FORMULA.value), ({}, found))
        if remedy:
            logging.info("\nit fits with %s:", " ".join(f"--config.{key}={value}" for key, value in remedy.items()))
            _print(better)
        elif (smaller := stage.lora_plan(config, topology, _FORMULA.value)) is not None:
            logging.info(
                "\nthe whole model does not fit with any change that was tried; a LoRA of rank %d does (config.lora, "
                "with execution.remat=full, see docs/bagel.md):",
                stage.LORA.rank,
            )
            _print(smaller)
        else:
            logging.info("\nno change that was tried makes it fit; take more chips, or a larger mesh.context")
    if _SCALING.value:
        found["scaling"] = stage.scale(config, topology)
        for row in found["scaling"]:
            logging.info(
                "%(scaling)-6s %(chips)5d chips, %(tokens per step)11.0f tokens: %(step seconds)7.3f s, %(bound)s", row
            )
            logging.info("       MFU %.0f %%, mesh %s", 100 * row["MFU"], row["mesh"])
    return found | {"remedy": remedy}


def _print(found: dict[str, Any]) -> None:
    used, limit = sum(found["bytes per chip"].values()) / 1e9, found["memory per chip"] / 1e9
    how = "compiled" if found["compile seconds"] else "by formula"
    logging.info("%s, %d chips, mesh %s", found["topology"], found["chips"], found["mesh"])
    result = "fits" if found["fits"] else f"DOES NOT FIT {found['needed']}".strip()
    result = f"{result}: {used:.1f} of {limit:.0f} GB per chip"
    logging.info("%s (%s, %.0f s; attention %s, remat %s)", result, how, found["compile seconds"], found["attention"],
                 found["remat"])  # fmt: skip
    for name, value in found["bytes per chip"].items():
        logging.info("  %-40s %8.2f GB", name, value / 1e9)
    logging.info("per step: %.0f tokens, %.3g model FLOPs", found["tokens per step"], found["model FLOPs per step"])
    for name, value in found["bytes received per chip"].items():
        logging.info("  %-40s %8.2f GB per chip", name, value / 1e9)
    for name, value in found["seconds"].items():
        logging.info("  %-40s %8.2f s", name, value)
    logging.info("at best %.2f s, bound by %s, MFU %.0f %%; %d steps are %.1f days, %.0f chip-hours",
                 found["step seconds"], found["bound"], 100 * found["MFU"], found["steps"], found["days"],
                 found["chip-hours"])  # fmt: skip
    if any(found["collectives in the program"].values()):
        logging.info("collectives in the program: %s", found["collectives in the program"])


if __name__ == "__main__":
    run_command(main, parse_config, flag_values=FLAGS)
