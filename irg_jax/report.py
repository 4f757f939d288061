"""`python -m irg_jax.report WORKDIR`: makes report.html, report.png and scores.json from a run folder."""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from irg_jax.errors import UserError
from irg_jax.reporting import gallery, load, page, scoring, sheet

_SHEET_ROWS = 8


def build_report(workdir: pathlib.Path) -> dict[str, Any]:
    """Writes the three files into `workdir` and returns what stands in scores.json.

    The page is made from whatever the folder holds; without samples there is no sheet. A folder that holds neither
    metrics nor samples, or that holds a broken file, is a `UserError`.
    """
    run = load.load_run(workdir)
    verdicts = [scoring.judge(sample) for sample in run.samples]
    scores = scoring.summarise_run(run, verdicts)
    judged = list(zip(run.samples, verdicts, strict=True))
    (workdir / "scores.json").write_text(json.dumps(scores, indent=2, ensure_ascii=False) + "\n")
    (workdir / "report.html").write_text(page.render(run, judged, scores))
    if judged:
        sheet.draw(gallery.in_turn(judged, _SHEET_ROWS)).save(workdir / "report.png", optimize=True)
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m irg_jax.report", description=__doc__)
    parser.add_argument("workdir", type=pathlib.Path, help="the folder that the run wrote its metrics and samples into")
    arguments = parser.parse_args(argv)
    try:
        scores = build_report(arguments.workdir)
    except UserError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    print(arguments.workdir / "report.html")
    if scores["scored"]:
        first, second = scores["turn1"]["overall"], scores["turn2"]["overall"]
        print(f"turn 1 {first:.3f}  turn 2 {second:.3f}  ({scores['scored']} scored samples, mean of the kinds)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
