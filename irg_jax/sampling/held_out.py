"""Trajectories for held-out prompts of a world, for the report."""

import logging
from pathlib import Path
from typing import Any

from irg_jax.data.shapes import dataset as shapes
from irg_jax.sampling import load, output


def generate(run: Path, evaluate: Any, out: Path) -> None:
    """Generates for the first held-out prompts of the run's world and writes a folder for each.

    Prompts that have their ``trajectory.json`` already are not done again.

    Args:
      run: folder of the stage whose EMA weights are used.
      evaluate: the ``evaluate`` section of a config: ``dir``, ``prompts``, ``batch_size``, ``seed``.
      out: gets the folders 00000, 00001, ….
    """
    held_out = shapes.open_source(evaluate.dir, "held_out")
    missing = [
        i for i in range(min(evaluate.prompts, len(held_out))) if not _folder(out, i, "trajectory.json").exists()
    ]
    if not missing:
        return
    sampler = load.sampler(run)
    for first in range(0, len(missing), evaluate.batch_size):
        wanted = missing[first : first + evaluate.batch_size]
        records = [held_out[i] for i in wanted]
        # The last batch is filled up, so that one size is compiled.
        filled = (wanted * evaluate.batch_size)[: evaluate.batch_size]
        results = sampler([held_out[i].prompt for i in filled], seed=evaluate.seed, indices=filled)
        for record, result in zip(records, results, strict=False):
            folder = _folder(out, result.index)
            output.write(folder, result, sampler.origin, scene=record.scene)
        logging.info("generated %d of %d held-out prompts", first + len(wanted), len(missing))


def _folder(out: Path, index: int, *name: str) -> Path:
    return out.joinpath(f"{index:05d}", *name)
