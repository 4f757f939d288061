"""Compares runs on one HTML page: their curves over each other, settings that differ, final figures."""

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

from irg_jax.core.config.schema import leaves
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_file
from irg_jax.core.small_files import write_text
from irg_jax.core.storage import AnyPath, retry
from irg_jax.reporting import curves, load, page, provenance, scoring
from irg_jax.reporting.load import Run, Stage
from irg_jax.reporting.wording import count_of, duration, folder_name, last_value, median_value, percent

COMPARISON_FILE = "comparison.html"

_OPEN_ROWS = 30  # a longer table of settings is folded
_CHARTS = (
    ("Loss", "loss", True),
    ("Cross entropy of text (ce)", "ce", True),
    ("Flow matching error of images (mse)", "mse", True),
    ("Loss on held-out data", "validation/loss", True),
    ("Gradient norm", "grad_norm", True),
    ("Tokens per second", "tokens_per_s", False),
)
_REFLECTION = {
    "seen": "says exactly what the picture shows",
    "faulty": "names exactly the faults",
    "faultless": "says that nothing is wrong where nothing is",
}

Row = tuple[str, list[str]]


def build_comparison(workdirs: Sequence[AnyPath], path: AnyPath, step: int | None = None) -> None:
    """Writes the comparison of runs to ``path``.

    Args:
      workdirs: folders of at least two runs, in the order in which they are shown.
      path: of the page.
      step: takes only the samples of the checkpoint of this step; all of them if not given.

    Raises:
      UserError: too many runs, a run twice, a broken run, or ``path`` cannot be written, which is found out before
        anything is read.
      StorageError: the storage went on answering with errors.
    """
    if len(workdirs) > curves.MAX_LINES:
        raise UserError(f"{len(workdirs)} runs are too many for one chart; compare at most {curves.MAX_LINES}")
    for index, workdir in enumerate(workdirs):
        load.check_run_folder(workdir)
        if workdir.resolve() in [other.resolve() for other in workdirs[:index]]:
            raise UserError(f"{workdir}: is given twice; give each run once")
    check_output_file(path, "the comparison")
    runs = [load.load_run(workdir, step) for workdir in workdirs]
    scores = [scoring.summarise_run(run, scoring.score_run(run)) for run in runs]
    text = render(runs, scores)
    retry(lambda: write_text(path, text), f"{path}: cannot be written")


def render(runs: Sequence[Run], scores: Sequence[dict[str, Any]]) -> str:
    """The whole page, from the runs and for each the content of its scores.json. Every text of the runs is escaped."""
    names = run_names(runs)
    sections = [
        ("figures", "Final figures", _figures(runs, names, scores)),
        ("curves", "Training curves", _curves(runs, names)),
        ("settings", "Settings that differ", _settings(runs, names)),
    ]
    sections = [(key, head, content) for key, head, content in sections if content]
    links = "".join(f'<a href="#{key}">{head}</a>' for key, head, _ in sections)
    title = html.escape(" · ".join(names))
    body = [
        f'<p class="kicker">IRG-JAX · Interleaving Reasoning Generation · {title}</p>',
        f"<h1>{len(runs)} runs compared</h1><nav>{links}</nav>",
        *(f'<section id="{key}"><h2>{head}</h2>{content}</section>' for key, head, content in sections),
    ]
    return page.document(title, body)


def run_names(runs: Sequence[Run]) -> list[str]:
    """The names of the runs' folders, with as many of the folders above as tell them apart."""
    paths = [run.path.resolve() for run in runs]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join([*path.parts[-depth:-1], folder_name(path)]) for path in paths]
        if len(set(names)) == len(names):
            return [name.encode("utf-8", "replace").decode() for name in names]
    return [f"{number}: {folder_name(path)}" for number, path in enumerate(paths, start=1)]


def _curves(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Charts for each stage, where all runs have the same; else for all steps of each run, one stage after another."""
    stage_names = [[stage.name for stage in run.stages] for run in runs if run.stages]
    if not stage_names:
        return ""
    if all(own == stage_names[0] for own in stage_names):
        groups = [(f"Training: {name}", [_named(run, name) for run in runs]) for name in stage_names[0]]
        note = ""
    else:
        groups = [("All stages", [_joined(run.stages) for run in runs])]
        note = "The runs have different stages: the stages of a run follow each other, and their steps are counted on."
    parts = [f'<p class="note">{note}</p>'] if note else []
    for head, stages in groups:
        charts = [
            curves.chart(
                title,
                [(name, stage.series(column) if stage else []) for name, stage in zip(names, stages, strict=True)],
                log=log,
                raw=False,
                smoothed=column != "validation/loss",
            )
            for title, column, log in _CHARTS
        ]
        parts.append(f'<h3>{html.escape(head)}</h3><div class="charts">{"".join(charts)}</div>')
    return "".join(parts)


def _named(run: Run, name: str) -> Stage | None:
    return next((stage for stage in run.stages if stage.name == name), None)


def _joined(stages: Sequence[Stage]) -> Stage | None:
    rows: list[dict[str, float]] = []
    for stage in stages:
        before = rows[-1]["step"] if rows else 0
        rows += [row | {"step": before + row["step"]} for row in stage.rows]
    return Stage("", rows) if rows else None


def _settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    missing = [name for name, run in zip(names, runs, strict=True) if not run.config]
    if missing:
        return f'<p class="note">Not compared, without a config.json: {html.escape(", ".join(missing))}.</p>'
    flat = [{key: json.dumps(value, ensure_ascii=False) for key, value in leaves(run.config)} for run in runs]
    keys = dict.fromkeys(key for values in flat for key in values)
    rows = [(key, [values.get(key, "—") for values in flat]) for key in keys]
    rows = [(key, values) for key, values in rows if len(set(values)) > 1]
    if not rows:
        return '<p class="note">The configs are the same.</p>'
    table = _table("config", names, rows)
    if len(rows) <= _OPEN_ROWS:
        return table
    return f"<details><summary>{len(rows)} settings</summary>{table}</details>"


def _figures(runs: Sequence[Run], names: Sequence[str], scores: Sequence[dict[str, Any]]) -> str:
    columns = [
        {figure[:2]: figure[2] for figure in _run_figures(run, own)} for run, own in zip(runs, scores, strict=True)
    ]
    # The figures of a group stand together, although some runs lack some of them, which are dashes there.
    keys = sorted(dict.fromkeys(key for column in columns for key in column), key=lambda key: key[0])
    rows = [(key[1], [column.get(key, "—") for column in columns]) for key in keys]
    notes = ["Losses are means over the end of each curve, tokens per second the median of a stage."]
    prompts = [{(item["prompt"], item["seed"]) for item in own["items"]} for own in scores if own["scored"]]
    if any(own != prompts[0] for own in prompts):
        notes.append("The runs were scored on different prompts or seeds, so their scores do not compare one to one.")
    return f'<p class="note">{" ".join(notes)}</p>{_table("figure", names, rows)}'


def _run_figures(run: Run, scores: dict[str, Any]) -> Iterator[tuple[int, str, str]]:
    """Number of the group, label and text of each figure of a run."""
    yield 0, "weights", provenance.weights_of(run)
    yield 0, "training data", provenance.data_of(run)
    yield 0, "evaluated", provenance.evaluation_of(scores)
    if scores["scored"]:
        for turn in ("turn1", "turn2"):
            name = f"turn {turn[-1]}"
            yield 1, f"{name}: correct, mean of the kinds", percent(scores[turn]["overall"])
            yield 1, f"{name}: correct images", count_of(scores[turn]["pooled"])
            yield 1, f"{name}: fine detail, 0 to 1", f"{scores[turn]['detail']:.3f}"
    for key, pictures in (("perception", "given pictures"), ("reflection", "own drafts")):
        for figure, what in _REFLECTION.items():
            if scores[key] and scores[key][figure]["count"]:
                yield 2, f"{pictures}: thinking 2 {what}", count_of(scores[key][figure])
        if scores[key] and scores[key]["balanced"] is not None:
            yield 2, f"{pictures}: mean of faulty and faultless", percent(scores[key]["balanced"])
    if scores["kept"] is not None:
        yield 2, "image 2 keeps what image 1 has right, 0 to 1", f"{scores['kept']:.2f}"
    for stage in run.stages:
        yield 3, f"{stage.name}: steps", f"{stage.rows[-1]['step']:,}"
        for column in ("loss", "ce", "mse"):
            for value in last_value(stage, column):
                yield 3, f"{stage.name}: last {column}", f"{value:.4g}"
        for _, value in stage.series("validation/loss")[-1:]:
            yield 3, f"{stage.name}: last validation loss", f"{value:.4g}"
        for value in median_value(stage, "tokens_per_s"):
            yield 3, f"{stage.name}: tokens/s", f"{value:,.0f}"
    for phase, spent in run.info.get("seconds", {}).items():
        yield 4, f"seconds of phase {phase}", f"{spent:,.1f} ({duration(spent)})"
    for key in ("commit", "started"):
        if run.info.get(key):
            yield 5, key, str(run.info[key])


def _table(corner: str, names: Sequence[str], rows: Sequence[Row]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    lines = "".join(
        f"<tr><th>{html.escape(label)}</th>{''.join(f'<td>{html.escape(value)}</td>' for value in values)}</tr>"
        for label, values in rows
    )
    return (
        f'<div class="panel scroll"><table><thead><tr><th>{corner}</th>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )
