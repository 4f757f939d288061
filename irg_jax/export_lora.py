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

_RUN = flags.DEFINE_string("run", None, "folder of a run trained with LoRA", required=True)
_MERGED = flags.DEFINE_string("merged_out", None, "a new folder for the base weights with the LoRA updates merged in")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "of the merged weights")
_ADAPTER = flags.DEFINE_string("adapter_out", None, "a new folder for the LoRA factors alone, in PEFT's format")


def main() -> None:
    """Writes the requested exports."""
    log_plainly()
    if not (_MERGED.value or _ADAPTER.value):
        raise UserError("give --merged_out DIR, --adapter_out DIR or both")
    stage = open_stage(Path(_RUN.value))
    require_lora(stage)
    for folder in filter(None, (_MERGED.value, _ADAPTER.value)):
        if Path(folder).exists():
            raise UserError(f"{folder}: exists already; choose a new folder")
    if _MERGED.value:
        write_merged(stage, Path(_MERGED.value), _DTYPE.value)
    if _ADAPTER.value:
        write_adapter(stage, Path(_ADAPTER.value))


if __name__ == "__main__":
    run_command(main)
