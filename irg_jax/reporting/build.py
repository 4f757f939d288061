"""A run's report: report.html, report.png and scores.json."""

import json
import pathlib
from typing import Any

from irg_jax.reporting import gallery, load, page, scoring, sheet

_SHEET_ROWS = 8


def build_report(workdir: pathlib.Path) -> dict[str, Any]:
    """Writes the three files into ``workdir`` and returns the content of scores.json.

    The page shows whatever the folder holds; without samples there is no report.png.

    Raises:
      UserError: the folder holds neither metrics nor samples, or a file in it is broken.
    """
    run = load.load_run(workdir)
    sample_scores = [scoring.score_sample(sample) for sample in run.samples]
    scores = scoring.summarise_run(run, sample_scores)
    samples = list(zip(run.samples, sample_scores, strict=True))
    (workdir / "scores.json").write_text(json.dumps(scores, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (workdir / "report.html").write_text(page.render(run, samples, scores), encoding="utf-8")
    if samples:
        sheet.draw(gallery.interleave_kinds(samples, _SHEET_ROWS)).save(workdir / "report.png", optimize=True)
    return scores
