"""Trajectories for held-out prompts of a world, for the report."""

import logging
from pathlib import Path

import jax

from irg_jax.data.sources.trajectories import open_source
from irg_jax.experiment.config import EvaluateConfig
from irg_jax.sampling import engine, output


def generate(run: Path, evaluate: EvaluateConfig, out: Path) -> None:
    """Samples a trajectory for each of the first held-out prompts and writes a folder for each.

    Prompts that already have a ``trajectory.json`` are skipped. Several processes share the prompts, and none of them
    waits for another one: whoever needs all trajectories has to.

    Args:
      run: folder of the stage whose EMA weights are used.
      evaluate: which prompts, and how.
      out: parent of the folders 00000, 00001, ….

    Raises:
      UserError: no data set in ``evaluate.dir``, or no checkpoint in ``run``.
    """
    held_out = open_source(evaluate.dir, "held_out")
    # By index, since another process may already have written some.
    indices = range(jax.process_index(), min(evaluate.prompts, len(held_out)), jax.process_count())
    missing = [i for i in indices if not (_sample_folder(out, i) / "trajectory.json").exists()]
    if not missing:
        return
    sampler = engine.load_sampler(run)
    size = min(evaluate.batch_size, len(missing))
    for first in range(0, len(missing), size):
        batch = missing[first : first + size]
        # The last batch is padded with repeated prompts, so that one batch size is compiled.
        padded = (batch * size)[:size]
        results = sampler([held_out[i].prompt for i in padded], seed=evaluate.seed, indices=padded)
        for index, result in zip(batch, results, strict=False):
            output.write(_sample_folder(out, index), result, sampler.origin, scene=held_out[index].scene)
        logging.info("generated %d of %d held-out prompts", first + len(batch), len(missing))


def _sample_folder(out: Path, index: int) -> Path:
    return out / f"{index:05d}"
