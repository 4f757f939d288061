"""Samples about a model's own pictures: ``python -m irg_jax.worlds.shapes.base --out DIR --count 10000``.

Writes DIR/captions.txt, texts to paint by, one a line. Once ``irg_jax.generate --task text_to_image`` has painted them,
the same command with --pictures writes DIR/samples/understanding and DIR/samples/editing from what the reader sees in
the pictures. The same command again does nothing that is done.
"""

from pathlib import Path

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import make_folder, write_text
from irg_jax.worlds.shapes.base import folders
from irg_jax.worlds.shapes.base.own import tasks
from irg_jax.worlds.shapes.base.plans import Plans
from irg_jax.worlds.shapes.objects import SIZE
from irg_jax.worlds.shapes.scene import MANNERS

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_OUT = flags.DEFINE_string("out", None, "folder for the texts and the samples", required=True, flag_values=FLAGS)
_COUNT = flags.DEFINE_integer("count", 10_000, "number of pictures", lower_bound=1, flag_values=FLAGS)
_SEED = flags.DEFINE_integer("seed", 100, "of the texts", lower_bound=0, flag_values=FLAGS)
_PICTURES = flags.DEFINE_string("pictures", None, "folder of the painted pictures", flag_values=FLAGS)


def main() -> None:
    """Writes what is missing."""
    log_plainly()
    out, plans = Path(_OUT.value), Plans("train", SIZE, MANNERS)
    if _PICTURES.value is None:
        check_output_folder(_OUT.value, "--out")
        make_folder(out)
        captions = [task.caption for task in tasks(_SEED.value, plans, range(_COUNT.value))]
        write_text(out / "captions.txt", "".join(f"{caption}\n" for caption in captions))
        print(f"{out / 'captions.txt'}: {len(captions)} texts")
    else:
        folders.build_own(
            out / "samples", _PICTURES.value, seed=_SEED.value, count=_COUNT.value, size=SIZE, manners=MANNERS
        )
        print(f"{out / 'samples'}: samples about {_COUNT.value} pictures")


if __name__ == "__main__":
    run_command(main, flag_values=FLAGS)
