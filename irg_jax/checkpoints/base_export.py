"""Exports the weights of a run to start others from, small enough to ship: the EMA alone, in bfloat16."""

import json
import logging
import re
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from irg_jax.checkpoints.weights import SavedStage, digest, model_weights
from irg_jax.checkpoints.weights_folder import write_weights
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text, write_json, write_text
from irg_jax.core.tree import count_weights

RECORD = "base.json"
_DTYPE = "bfloat16"


def write_base(stage: SavedStage, target: Path) -> dict[str, Any]:
    """Writes the EMA weights of a stage as a folder like that of a converted checkpoint, and ``base.json`` in it.

    LoRA updates are merged into their base. The folder names no other folder: of the config it has what sampling reads.

    Args:
      stage: of a run of ``irg_jax.train``.
      target: a new folder.

    Returns:
      what ``base.json`` says: the ``command`` that trained the weights, its ``commit``, the ``date`` on which it
      began, ``stage`` and ``step``; the number of ``weights``, their ``dtype`` and ``digest``, see
      ``checkpoints.weights.digest``; the ``bytes`` of all other files of the folder.

    Raises:
      UserError: no record of a run, a damaged checkpoint, or a folder that cannot be written.
    """
    run = _read_record(stage)
    weights = model_weights(stage, dtype=_DTYPE)
    config = {name: stage.config[name] for name in ("model", "execution", "sampling")}
    config["data"] = {name: stage.config.data[name] for name in ("vae_image", "vit_image")}
    write_weights(
        target,
        weights,
        to_json(ConfigDict(config)),
        tokenizer_folder=stage.folder / "tokenizer",
        assets_of=stage.folder,
    )
    for file in target.rglob("commit_success.txt"):
        write_text(file, "")  # Orbax writes its absolute path into it, and only looks whether it is there
    size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
    record = {
        "command": _without_folders(str(run.get("command", ""))),
        "commit": run.get("commit"),
        "date": run.get("started"),
        "stage": stage.folder.name,
        "step": stage.step,
        "weights": count_weights(weights),
        "dtype": _DTYPE,
        "digest": digest(weights),
        "bytes": size,
    }
    write_json(target / RECORD, record)
    logging.info("%s: %s weights, %.1f MB", target, f"{record['weights']:,}", size / 1e6)
    return record


def _read_record(stage: SavedStage) -> dict[str, Any]:
    """``run.json``, which is in the folder of the stage or in the one around it."""
    for folder in (stage.folder, stage.folder.parent):
        try:
            found = json.loads(read_text(folder / "run.json"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder / 'run.json'}: cannot be read ({error}); put back the record of the run"
            ) from error
        if isinstance(found, dict):
            return found
    raise UserError(f"{stage.folder}: has no run.json that says how it was trained; give a run of irg_jax.train")


def _without_folders(command: str) -> str:
    """The command that trained a run, without where the run and its config file were, which says nothing elsewhere."""
    command = re.sub(r"(--workdir[= ])\S+", r"\1RUN", command)
    return re.sub(r"(--config[= ])/\S*/", r"\1", command)
