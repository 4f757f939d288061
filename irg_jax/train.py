"""Trains a model: ``python -m irg_jax.train --config shapes_quickstart --workdir DIR``.

The same command again resumes where the run stopped. A config with ``stages`` runs them in order, then generates for
held-out prompts and writes the report.
"""

from pathlib import Path

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError
from irg_jax.experiment import stages
from irg_jax.experiment.config import ExperimentConfig, parse_config
from irg_jax.sharding import processes
from irg_jax.training.config import StageConfig

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run: checkpoints, metrics, report", required=True)


def main(config: StageConfig | ExperimentConfig) -> None:
    """Runs ``config`` in the folder that the command names."""
    log_plainly()
    if "://" in _WORKDIR.value:
        raise UserError(f"--workdir: {_WORKDIR.value} is not a folder; mount the bucket (see launch/README.md)")
    processes.initialize()
    stages.run(config, Path(_WORKDIR.value).absolute())


if __name__ == "__main__":
    run_command(main, parse_config)
