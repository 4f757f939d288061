"""``irg_jax.evaluate report DIR…``: one page for scored runs beside the published figures, with CSV and JSON."""

import re
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from irg_jax.benchmarks.preference_file import FILE as PREFERENCE_FILE
from irg_jax.benchmarks.results import FILE as RESULT_FILE
from irg_jax.benchmarks.results import read_result
from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.errors import UserError
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.run import FILE as RUN_FILE
from irg_jax.evaluation.run import layout_folder, read_run
from irg_jax.evaluation.score import Turn, other_run
from irg_jax.reporting.benchmarks import build_benchmark_report

TAKES_FOLDERS = True
FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_OUT = flags.DEFINE_string("out", None, "folder of the page; the first folder if not given", flag_values=FLAGS)


def main(folders: Sequence[str]) -> None:
    """Writes the page and prints its path."""
    log_plainly()
    if not folders:
        raise UserError("irg_jax.evaluate report: give at least one folder, of a run or of its scores")
    given = [Path(folder).absolute() for folder in folders]
    scored = [folder for own in given for folder in _with_results(own)]
    for folder in scored:
        _check_run(folder)
    print(build_benchmark_report(scored, Path(_OUT.value) if _OUT.value else given[0], BENCHMARKS))


def _check_run(folder: Path) -> None:
    """Refuses scores that lie in ``RUN/scores/turnN``, but are of another run or turn, as after copying files."""
    out = folder.parents[1]
    number = re.fullmatch(r"turn([12])", folder.name)
    if number is None or folder.parent.name != "scores" or not (out / RUN_FILE).exists():
        return
    if (folder / RESULT_FILE).exists():
        turn = Turn(layout_folder(out, int(number[1])), int(number[1]), read_run(out))
        if different := other_run(read_result(folder), turn):
            raise UserError(
                f"{folder / RESULT_FILE}: is not of the run in {out} ({different}); put its own scores back, or score "
                "the run again"
            )


def _with_results(folder: Path) -> list[Path]:
    """The folder itself, or those in it and in its ``scores``, that have results."""
    parents = [parent for parent in (folder, folder / "scores") if parent.is_dir()]
    inside = [folder, *(path for parent in parents for path in sorted(parent.iterdir()) if path.is_dir())]
    found = [path for path in inside if (path / RESULT_FILE).exists() or (path / PREFERENCE_FILE).exists()]
    if not found:
        raise UserError(f"{folder}: no such folder, or nothing is scored in it; run irg_jax.evaluate score first")
    return found
