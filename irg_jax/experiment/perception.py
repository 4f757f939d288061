"""Perception: thinking 2 about weak pictures of the data set, for the report.

The model's own pictures mix how well it paints with how well it sees. Here the first turn is given: the prompt,
thinking 1 and the weak picture of held-out records, so that only what is written about the picture differs. What the
picture shows is read from its pixels.
"""

import logging

import numpy as np

from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.small_files import write_json
from irg_jax.core.storage import AnyPath, retry
from irg_jax.data import images
from irg_jax.data.sources.trajectories import open_source
from irg_jax.data.trajectory import Trajectory
from irg_jax.experiment.config import EvaluateConfig
from irg_jax.experiment.held_out import batches
from irg_jax.experiment.measured import Measured, read_measured
from irg_jax.reporting.load import PERCEPTION_FILE
from irg_jax.reporting.perception import judge, to_record
from irg_jax.sampling import engine
from irg_jax.sampling.sampler import Sampler
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.scene import Scene


def measure(run: AnyPath, evaluate: EvaluateConfig, workdir: AnyPath, step: int | None = None) -> None:
    """Reflects on the weak pictures of the first held-out records, and writes ``perception.json`` into ``workdir``.

    Records without a scene or a weak picture are left out, and so are those whose texts are longer than the model's
    own may be. Nothing is done where the file is there for this checkpoint and as many records.

    Args:
      run: folder of the stage whose EMA weights are used.
      evaluate: on what, and how.
      workdir: of the report.
      step: of the checkpoint; the latest if not given.

    Raises:
      UserError: no data set in ``evaluate.dir``, no checkpoint in ``run``, or pictures of another size than the model
        samples.
      StorageError: the storage went on answering with errors.
    """
    stage = open_stage(run, step)
    if read_measured(workdir / PERCEPTION_FILE) == Measured(stage.step, evaluate.perception):
        return
    held_out = open_source(evaluate.dir, "held_out")
    records = [held_out[i] for i in range(min(evaluate.perception, len(held_out)))]
    sampler = engine.load_sampler(stage.folder, step=stage.step)
    usable = [i for i, record in enumerate(records) if _is_usable(record, sampler)]
    if len(usable) < len(records):
        out, reason = len(records) - len(usable), "no scene, no weak picture, or too long a text"
        logging.warning("%s: perception leaves out %d of %d records: %s", evaluate.dir, out, len(records), reason)
    found = []
    for batch, padded in batches(usable, evaluate.batch_size):
        some = [records[i] for i in padded]
        texts = sampler.reflect(
            [record.prompt for record in some],
            [record.thinking1 for record in some],
            [_pixels(record) for record in some],
            seed=evaluate.seed,
            indices=padded,
        )
        found += [_judged(records[i], *text) for i, text in zip(batch, texts, strict=False)]
    values = {"checkpoint": str(stage.folder), "step": stage.step, "asked": evaluate.perception, "records": found}
    path = workdir / PERCEPTION_FILE
    retry(lambda: write_json(path, values), f"{path}: cannot be written")


def _is_usable(record: Trajectory, sampler: Sampler) -> bool:
    return bool(record.scene and record.image1) and sampler.fits(record.prompt, record.thinking1)


def _pixels(record: Trajectory) -> np.ndarray:
    return np.asarray(images.decode(record.image1, record.key))


def _judged(record: Trajectory, thinking2: str, complete: bool) -> dict[str, object]:
    scene = Scene.from_json(record.scene)
    reading = judge(read_picture(_pixels(record)), scene.plan, thinking2)
    return {"key": record.key, **to_record(reading), "complete": complete, "thinking2": thinking2}
