"""A run's report: report.html, report.png and scores.json."""

import io
from typing import Any

from irg_jax.core.outputs import check_output_file
from irg_jax.core.small_files import write_bytes, write_json, write_text
from irg_jax.core.storage import AnyPath, retry
from irg_jax.reporting import gallery, load, page, scoring, sheet

_SHEET_ROWS = 8
_FILES = ("scores.json", "report.html", "report.png")


def build_report(workdir: AnyPath, step: int | None = None) -> dict[str, Any]:
    """Writes the three files into ``workdir`` and returns the content of scores.json.

    The page shows whatever the folder holds; without samples there is no report.png.

    Args:
      workdir: folder of the run.
      step: shows only the samples of the checkpoint of this step; all of them if not given.

    Raises:
      UserError: the folder holds neither metrics nor samples, none of that step, a file in it is broken, or it cannot
        be written to, which is found out before anything is read.
      StorageError: the storage went on answering with errors.
    """
    load.check_run_folder(workdir)
    for name in _FILES:
        check_output_file(workdir / name, "the report of the run")
    run = load.load_run(workdir, step)
    sample_scores = scoring.score_run(run)
    scores = scoring.summarise_run(run, sample_scores)
    samples = list(zip(run.samples, sample_scores, strict=True))
    html = page.render(run, samples, scores)
    picture = io.BytesIO()
    if samples:
        sheet.draw(gallery.interleave_faults(samples, _SHEET_ROWS)).save(picture, "PNG", optimize=True)
    retry(lambda: write_json(workdir / "scores.json", scores), f"{workdir / 'scores.json'}: cannot be written")
    retry(lambda: write_text(workdir / "report.html", html), f"{workdir / 'report.html'}: cannot be written")
    path = workdir / "report.png"
    if samples:
        retry(lambda: write_bytes(path, picture.getvalue()), f"{path}: cannot be written")
    else:  # that of an earlier report would be taken for this one's
        retry(lambda: path.unlink(missing_ok=True), f"{path}: cannot be removed")
    return scores
