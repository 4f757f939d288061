"""One process of a run: trains the same small model on several meshes, one after another.

usage: python -m tests.sharding.worker DATA ROOT STEPS MESH=FOLDER …

MESH is like fsdp8 or data2.context4. A folder that holds a checkpoint is resumed from.
"""

import re
import sys
from pathlib import Path

from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.experiment import stages
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import MeshConfig
from irg_jax.training.config import parse_stage
from tests.commands import SMALL

# Eight rows, so that every mesh of eight devices is possible; tensor 8 has more devices than the model has heads.
SIZES = {
    "data.batch_size": 8,
    "execution.attention": "auto",
    "checkpoint.every": 2,
    "checkpoint.keep": 9,
    "log.every": 1,
}


def parse_mesh(text: str) -> MeshConfig:
    axes = {name: int(size) for name, size in re.findall(r"([a-z]+)(\d+)", text)}
    return MeshConfig(**{"fsdp": 1} | axes)


def main(data: Path, root: Path, steps: int, runs: list[str]) -> None:
    log_plainly()
    processes.initialize()
    folders = {"data.sources.shapes.dir": str(data / "shapes"), "data.tokenizer": str(data / "tokenizer")}
    stage = replaced(parse_stage(load("template")), {"optim.warmup_steps": 0} | SMALL | SIZES | folders)
    for run in runs:
        mesh, folder = run.split("=")
        stages.run(replaced(stage, {"mesh": parse_mesh(mesh), "steps": steps}), root / folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
