"""Exports LoRA weights: ``python -m irg_jax.export_lora --run RUN --merged_out DIR --adapter_out DIR``.

``--merged_out`` writes a folder like that of a converted checkpoint, with the LoRA updates merged into the base
weights; sample from it, train from it, or convert it to BAGEL's format with ``irg_jax.convert``. ``--adapter_out``
writes the LoRA factors alone, in the format of the PEFT library.
"""

from pathlib import Path

from absl import flags

from irg_jax.checkpoints.lora_export import require_lora, write_adapter, write_merged
from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_folder

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_RUN = flags.DEFINE_string("run", None, "folder of a run trained with LoRA", required=True, flag_values=FLAGS)
_STEP = flags.DEFINE_integer("step", None, "of the checkpoint; the latest if not given", flag_values=FLAGS)
_MERGED = flags.DEFINE_string(
    "merged_out", None, "a new folder for the base weights with the LoRA updates merged in", flag_values=FLAGS
)
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "of the merged weights", flag_values=FLAGS)
_ADAPTER = flags.DEFINE_string(
    "adapter_out", None, "a new folder for the LoRA factors alone, in PEFT's format", flag_values=FLAGS
)


def main() -> None:
    """Writes the requested exports."""
    log_plainly()
    if not (_MERGED.value or _ADAPTER.value):
        raise UserError("give --merged_out DIR, --adapter_out DIR or both")
    for flag in (_MERGED, _ADAPTER):
        if flag.value:
            check_output_folder(flag.value, f"--{flag.name}", new=True)
    stage = open_stage(_RUN.value, _STEP.value)
    require_lora(stage)
    if _MERGED.value:
        write_merged(stage, Path(_MERGED.value), _DTYPE.value)
    if _ADAPTER.value:
        write_adapter(stage, Path(_ADAPTER.value))


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
