"""Reports on a run, or compares several.

python -m irg_jax.report RUN [--step=N]                     # report.html, report.png, scores.json in RUN
python -m irg_jax.report RUN RUN ... [--step=N] [--out=FILE]  # comparison.html in the first RUN, or FILE
"""

import sys
from collections.abc import Sequence

from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command, take_arguments
from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path
from irg_jax.reporting.build import build_report
from irg_jax.reporting.compare import COMPARISON_FILE, build_comparison

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_STEP = flags.DEFINE_integer(
    "step", None, "only the samples of the checkpoint of this step", lower_bound=0, flag_values=FLAGS
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    f"file for the comparison of several runs; {COMPARISON_FILE} in the first one if not given",
    flag_values=FLAGS,
)


def main(workdirs: Sequence[str], step: int | None = None, out: str | None = None) -> None:
    """Writes the report of one run, or the comparison of several, and prints its path.

    Args:
      workdirs: folders of the runs.
      step: takes only the samples of the checkpoint of this step; all of them if not given.
      out: file for the comparison; comparison.html in the first folder if not given.

    Raises:
      UserError: no folder, a broken one, or an output that cannot be written.
    """
    log_plainly()
    if not workdirs:
        raise UserError("irg_jax.report: give the folder of a run, python -m irg_jax.report RUN")
    folders = [as_path(workdir) for workdir in workdirs]
    if len(folders) > 1:
        path = as_path(out) if out else folders[0] / COMPARISON_FILE
        build_comparison(folders, path, step)
        print(path)
        return
    if out:
        raise UserError("--out: is for the comparison of two or more runs; a run's report is in its folder")
    scores = build_report(folders[0], step)
    print(folders[0] / "report.html")
    if scores["scored"]:
        first, second = scores["turn1"]["overall"], scores["turn2"]["overall"]
        print(f"turn 1 {first:.3f}  turn 2 {second:.3f}  ({scores['scored']} scored samples, mean of the kinds)")


if __name__ == "__main__":
    _folders = take_arguments(sys.argv, FLAGS)
    run_command(lambda: main(_folders, _STEP.value, _OUT.value), flag_values=FLAGS)
