"""The report on scored runs: benchmarks.html, benchmarks.csv and benchmarks.json with the same figures."""

from collections.abc import Mapping, Sequence

from irg_jax.benchmarks.preference_file import FILE as PREFERENCE_FILE
from irg_jax.benchmarks.preference_file import Verdicts, has_verdicts, read_verdicts
from irg_jax.benchmarks.results import FILE as RESULT_FILE
from irg_jax.benchmarks.results import Result, read_result
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import is_same_folder, make_folder, write_json, write_text
from irg_jax.core.storage import AnyPath, retry
from irg_jax.reporting.benchmark_comparison import Summary, group_results, judge
from irg_jax.reporting.benchmark_page import render
from irg_jax.reporting.benchmark_tables import to_csv, to_json

PAGE, CSV, JSON = "benchmarks.html", "benchmarks.csv", "benchmarks.json"


def build_benchmark_report(
    folders: Sequence[AnyPath], out: AnyPath, benchmarks: Mapping[str, Summary], *, draws: int = 1000, seed: int = 0
) -> AnyPath:
    """Writes the report on the results in ``folders``.

    Args:
      folders: each with scores.json, preference.json or both; shown in this order.
      out: folder of the report, made if it is missing.
      benchmarks: those that results may be of, by name.
      draws: of the bootstrap behind the intervals of differences and preferences.
      seed: of the draws.

    Returns:
      The path of the page.

    Raises:
      UserError: no folder, one given twice, one without results, a damaged file, a benchmark that is not known, or
        ``out`` cannot be written, which is found out first.
      StorageError: the storage went on answering with errors.
    """
    if not folders:
        raise UserError("irg_jax.evaluate report: give at least one folder with results")
    for index, folder in enumerate(folders):
        if any(is_same_folder(folder, other) for other in folders[:index]):
            raise UserError(f"{folder}: is given twice; give each folder once")
    check_output_folder(out, "--out")
    results, verdicts = _read(folders)
    groups, warnings = group_results(results, benchmarks, draws, seed)
    judged = [judge(folder, own, draws, seed) for folder, own in verdicts]
    make_folder(out)
    text = render(groups, judged, warnings, benchmarks)
    retry(lambda: write_text(out / PAGE, text), f"{out / PAGE}: cannot be written")
    retry(lambda: write_text(out / CSV, to_csv(groups, judged)), f"{out / CSV}: cannot be written")
    retry(lambda: write_json(out / JSON, to_json(groups, judged, warnings)), f"{out / JSON}: cannot be written")
    return out / PAGE


def _read(folders: Sequence[AnyPath]) -> tuple[list[tuple[AnyPath, Result]], list[tuple[AnyPath, Verdicts]]]:
    results, verdicts = [], []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give a folder with {RESULT_FILE} or {PREFERENCE_FILE}")
        judged = has_verdicts(folder)
        if judged:
            verdicts.append((folder, read_verdicts(folder)))
        if not judged or (folder / RESULT_FILE).exists():
            results.append((folder, read_result(folder)))
    return results, verdicts
