"""Trains a model: ``python -m irg_jax.train --config shapes_quickstart --workdir DIR``.

The same command again resumes where the run stopped. A config with ``stages`` runs them in order, then generates for
held-out prompts and writes the report. ``--check_only --devices=64`` checks a config for a machine that is not at hand.
"""

import logging

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path
from irg_jax.experiment import stages
from irg_jax.experiment.config import ExperimentConfig, parse_config
from irg_jax.sharding import processes
from irg_jax.training.config import StageConfig
from irg_jax.training.hooks.profile import parse_window

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder of the run: checkpoints, metrics, report", required=True, flag_values=FLAGS
)
_PROFILE = flags.DEFINE_string(
    "profile", "", "START:COUNT: traces these steps of a stage into WORKDIR/profile", flag_values=FLAGS
)
_ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes",
    False,
    "resume with another learning rate, schedule, loss or mixture, or on data that have changed; run.json keeps what",
    flag_values=FLAGS,
)
_CHECK_ONLY = flags.DEFINE_bool("check_only", False, "check config and mesh, and do nothing else", flag_values=FLAGS)
_DEVICES = flags.DEFINE_integer(
    "devices", None, "with --check_only: for so many devices", lower_bound=1, flag_values=FLAGS
)
_SLICES = flags.DEFINE_integer(
    "slices", 1, "with --devices: joined from so many slices of a pod", lower_bound=1, flag_values=FLAGS
)


def main(config: StageConfig | ExperimentConfig) -> None:
    """Runs ``config`` in the folder that the command names."""
    log_plainly()
    if _DEVICES.value is not None and not _CHECK_ONLY.value:
        raise UserError("--devices: is for --check_only; training takes all devices that there are")
    window = parse_window(_PROFILE.value) if _PROFILE.value else None
    if _CHECK_ONLY.value:
        for name, shape in stages.check(config, _DEVICES.value, _SLICES.value).items():
            logging.info("%s: mesh %s", name, " x ".join(f"{axis} {size}" for axis, size in shape.items()))
        return
    processes.initialize()
    stages.run(config, as_path(_WORKDIR.value), window, _ALLOW_CHANGES.value)


if __name__ == "__main__":
    run_command(main, parse_config, on_failure=processes.announce_failure, flag_values=FLAGS)
