"""Exports weights to start other runs from: ``python -m irg_jax.export_base --checkpoint RUN --out FOLDER``.

The folder holds the EMA weights alone, in bfloat16, with the tokenizer: sample from it, or start a stage from it with
``init_from``. ``base.json`` says which run trained them. In ``irg_jax/pretrained`` of the repository it is installed
with the package, and configs name it ``{package}/pretrained/NAME``.
"""

from pathlib import Path

from absl import flags

from irg_jax.checkpoints.base_export import write_base
from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.outputs import check_output_folder

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder of a run, of one of its stages, or of a checkpoint", required=True, flag_values=FLAGS
)
_STEP = flags.DEFINE_integer("step", None, "of the checkpoint; the latest if not given", flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "a new folder", required=True, flag_values=FLAGS)


def main() -> None:
    """Writes the folder."""
    log_plainly()
    check_output_folder(_OUT.value, "--out", new=True)
    write_base(open_stage(_CHECKPOINT.value, _STEP.value), Path(_OUT.value))


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
