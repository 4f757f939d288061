"""One process of a run whose machines may not see the same data: trains one step.

usage: python -m tests.data.seeing_worker FOLDER

FOLDER has a data set for each process, ``data0`` and ``data1``, and the tokenizer.
"""

import os
import sys
from pathlib import Path

from irg_jax.core.config.command_line import run_command
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.experiment import stages
from irg_jax.sharding import processes
from irg_jax.training.config import parse_stage
from tests.commands import SMALL


def main() -> None:
    processes.initialize()
    folder = Path(sys.argv[1])
    own = {
        "steps": 1,
        "data.batch_size": 2,
        "data.sources.shapes.world": None,
        "data.sources.shapes.dir": str(folder / f"data{os.environ['JAX_PROCESS_ID']}"),
        "data.tokenizer": str(folder / "tokenizer"),
    }
    stages.run(replaced(parse_stage(load("template")), {"optim.warmup_steps": 0} | SMALL | own), folder / "run")


if __name__ == "__main__":
    run_command(main, argv=sys.argv[:1], on_failure=processes.announce_failure)
