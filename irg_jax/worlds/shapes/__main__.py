"""Builds a shapes data set: ``python -m irg_jax.worlds.shapes --out DIR --train 4000 --held_out 600``.

With --prompts FILE the prompts of its training records are written too, one a line and each once: what the own model
paints pictures of (``irg_jax.curate``), while the oracle teaches it with the same data set
(``irg_jax.worlds.shapes.oracle --data DIR``). The same command again does nothing that is done.
"""

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_file
from irg_jax.core.small_files import write_text
from irg_jax.data.sources.trajectories import open_source
from irg_jax.worlds.shapes import dataset
from irg_jax.worlds.shapes.objects import SIZE
from irg_jax.worlds.shapes.scene import MANNERS

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_OUT = flags.DEFINE_string("out", None, "folder of the data set", required=True, flag_values=FLAGS)
_TRAIN = flags.DEFINE_integer("train", 8000, "number of training records", lower_bound=1, flag_values=FLAGS)
_HELD_OUT = flags.DEFINE_integer("held_out", 600, "number of held-out records", lower_bound=1, flag_values=FLAGS)
_SEED = flags.DEFINE_integer("seed", 0, "of all records", lower_bound=0, flag_values=FLAGS)
_SIZE = flags.DEFINE_integer(
    "size", SIZE, "side of the pictures in pixels, a multiple of 16", lower_bound=32, flag_values=FLAGS
)
_MANNERS = flags.DEFINE_list(
    "manners", list(MANNERS[:1]), f"benchmarks in whose manner prompts ask, of {', '.join(MANNERS)}", flag_values=FLAGS
)
_PROMPTS = flags.DEFINE_string("prompts", None, "file for the prompts of the training records", flag_values=FLAGS)


def main() -> None:
    """Builds what is missing."""
    log_plainly()
    if unknown := [manner for manner in _MANNERS.value if manner not in MANNERS]:
        raise UserError(f"--manners: {', '.join(unknown)}: use some of {', '.join(MANNERS)}")
    if _SIZE.value % 16:
        raise UserError(f"--size: {_SIZE.value} is not a multiple of 16")
    if _PROMPTS.value:
        check_output_file(_PROMPTS.value, "--prompts")
    dataset.build(
        _OUT.value,
        seed=_SEED.value,
        train=_TRAIN.value,
        held_out=_HELD_OUT.value,
        size=_SIZE.value,
        manners=tuple(_MANNERS.value),
    )
    print(f"{_OUT.value}: train {_TRAIN.value}, held_out {_HELD_OUT.value}")
    if _PROMPTS.value:
        source = open_source(_OUT.value, "train")
        prompts = dict.fromkeys(source[i].prompt for i in range(len(source)))
        write_text(_PROMPTS.value, "".join(f"{prompt}\n" for prompt in prompts))
        print(f"{_PROMPTS.value}: {len(prompts)} prompts")


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
