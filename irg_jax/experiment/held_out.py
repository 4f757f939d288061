"""Trajectories for held-out prompts of a world, for the report."""

import json
import logging
from collections.abc import Iterator, Sequence

import jax

from irg_jax.checkpoints.weights import SavedStage, open_stage
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text
from irg_jax.core.storage import AnyPath
from irg_jax.data.sources.trajectories import open_source
from irg_jax.experiment.config import EvaluateConfig
from irg_jax.sampling import engine, output


def generate(run: AnyPath, evaluate: EvaluateConfig, out: AnyPath, step: int | None = None) -> None:
    """Samples a trajectory for each of the first held-out prompts and writes a folder for each.

    Prompts that already have a trajectory of this checkpoint are skipped. Several processes share the prompts, and none
    of them waits for another one: whoever needs all trajectories has to.

    Args:
      run: folder of the stage whose EMA weights are used.
      evaluate: which prompts, and how.
      out: parent of the folders 00000, 00001, ….
      step: of the checkpoint; the latest if not given.

    Raises:
      UserError: no data set in ``evaluate.dir``, or no checkpoint in ``run``.
    """
    held_out = open_source(evaluate.dir, "held_out")
    # By index, since another process may already have written some.
    indices = range(jax.process_index(), min(evaluate.prompts, len(held_out)), jax.process_count())
    stage = open_stage(run, step)
    missing = [i for i in indices if sampled_step(_sample_folder(out, i)) != stage.step]
    if not missing:
        return
    sampler = engine.load_sampler(stage.folder, step=stage.step)
    done = 0
    for batch, padded in batches(missing, evaluate.batch_size):
        results = sampler([held_out[i].prompt for i in padded], seed=evaluate.seed, indices=padded)
        for index, result in zip(batch, results, strict=False):
            output.write(_sample_folder(out, index), result, sampler.origin, scene=held_out[index].scene)
        done += len(batch)
        logging.info("generated %d of %d held-out prompts", done, len(missing))


def batches(indices: Sequence[int], size: int) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Batches of at most ``size`` indices, and each padded by repetition, so that one batch size is compiled."""
    size = min(size, len(indices))
    for first in range(0, len(indices), size or 1):
        batch = indices[first : first + size]
        yield batch, [batch[i % len(batch)] for i in range(size)]


def open_evaluation(
    checkpoint: str,
    step: int | None,
    data: str | None,
    *,
    prompts: int,
    batch_size: int,
    seed: int,
    perception: int,
    controls: int,
) -> tuple[SavedStage, EvaluateConfig]:
    """The checkpoint to evaluate, and on what.

    Args:
      checkpoint: folder of a run, of one of its stages, or of a checkpoint.
      step: of the checkpoint; the latest if not given.
      data: data set with held-out prompts; that of the checkpoint's training if not given.
      prompts: number of prompts.
      batch_size: prompts sampled together.
      seed: of the samples.
      perception: number of weak pictures to reflect on.
      controls: number of samples whose second turn is repeated with one thing changed.

    Raises:
      UserError: no such checkpoint, or training data without held-out prompts that can be scored.
    """
    stage = open_stage(checkpoint, step)
    sources = stage.config.get("data", {}).get("sources", {})
    worlds = [source["dir"] for source in sources.values() if source.get("world")]
    if data is None and not worlds:
        raise UserError(
            f"{stage.folder}: was not trained on the shapes world, whose images can be scored; give --data DIR of one"
        )
    folder = data or worlds[0]
    open_source(folder, "held_out")  # to find out before a model is loaded
    return stage, EvaluateConfig(folder, prompts, batch_size, seed, perception, controls)


def sampled_step(folder: AnyPath) -> int | None:
    """The step of the checkpoint that sampled the trajectory in a folder; None where there is none, or half of one."""
    try:
        return json.loads(read_text(folder / "trajectory.json"))["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sample_folder(out: AnyPath, index: int) -> AnyPath:
    return out / f"{index:05d}"
