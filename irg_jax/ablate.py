"""Runs the ablation and writes its table: ``python -m irg_jax.ablate --workdir DIR --out docs/ablation.md``.

Every variant of ``--variants`` with every seed is a run of ``irg_jax.train`` in DIR/VARIANT/SEED. The same command
again resumes where it stopped.
"""

from pathlib import Path

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.experiment.ablation import run_ablation

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of all runs", required=True, flag_values=FLAGS)
_SEEDS = flags.DEFINE_integer("seeds", 3, "runs per variant", lower_bound=1, flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", "docs/ablation.md", "file of the table", flag_values=FLAGS)
_VARIANTS = flags.DEFINE_string(
    "variants", "shapes_ablation", "a config with VARIANTS by name, and get_config('VARIANT,SEED')", flag_values=FLAGS
)


def main() -> None:
    """Runs what is missing and writes the table."""
    log_plainly()
    run_ablation(_VARIANTS.value, _SEEDS.value, Path(_WORKDIR.value).absolute(), Path(_OUT.value))


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
