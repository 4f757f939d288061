"""Writes report.html, report.png and scores.json into the folder of a run: ``python -m irg_jax.report RUN``."""

import functools
import sys
from pathlib import Path

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.errors import UserError
from irg_jax.reporting.build import build_report


def main(workdir: str) -> None:
    """Writes the report of the run in ``workdir`` and prints its path."""
    log_plainly()
    if not workdir:
        raise UserError("irg_jax.report: give the folder of a run, python -m irg_jax.report RUN")
    scores = build_report(Path(workdir))
    print(Path(workdir) / "report.html")
    if scores["scored"]:
        first, second = scores["turn1"]["overall"], scores["turn2"]["overall"]
        print(f"turn 1 {first:.3f}  turn 2 {second:.3f}  ({scores['scored']} scored samples, mean of the kinds)")


if __name__ == "__main__":
    # The folder is an argument, which run_command would refuse.
    has_folder = len(sys.argv) > 1 and not sys.argv[1].startswith("-")
    run_command(functools.partial(main, sys.argv.pop(1) if has_folder else ""))
