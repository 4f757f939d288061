"""The report as one self-contained HTML page."""

import html
import json
from collections.abc import Sequence
from typing import Any

from irg_jax.reporting import controls_table, curves, gallery, perception_table, provenance
from irg_jax.reporting.load import Run, Stage
from irg_jax.reporting.style import STYLE
from irg_jax.reporting.wording import count_of, duration, folder_name, last_value, median_value, percent

_GALLERY_SAMPLES = 48
_HERO_SAMPLES = 6
_SCORES_TITLE = "Turn 1 against turn 2"

_TARGETS = {
    "draft": "The first turn was trained to generate the weak draft and the second turn to generate the good image, so "
    "turn 1 is weaker by design: the step from turn 1 to turn 2 does not show that two turns beat a model that "
    "generates the good image directly.",
    "good": "Both turns were trained to generate the good image, as in the published recipe, so the step from turn 1 "
    "to turn 2 is what the second turn adds.",
    "": "The config does not say which image the first turn was trained to generate (data.initial_target), so read the "
    "step from turn 1 to turn 2 with care.",
}


def render(run: Run, samples: Sequence[gallery.ScoredSample], scores: dict[str, Any]) -> str:
    """The whole page, without sections that would be empty. Every text that comes from the run folder is escaped."""
    name = html.escape(folder_name(run.path))
    shown = gallery.interleave_kinds(samples, _GALLERY_SAMPLES)
    title = "Held-out prompts" if provenance.is_held_out(run, scores) and not _unscored(scores) else "Samples"
    sections = [
        ("scores", _SCORES_TITLE, _scores(scores)),
        ("perception", "Perception", perception_table.section(scores)),
        ("controls", "Controls", controls_table.section(scores)),
        ("training", "Training curves", "".join(map(_stage, run.stages))),
        ("gallery", title, _gallery(shown, scores)),
    ]
    sections = [(key, head, content) for key, head, content in sections if content]
    links = "".join(f'<a href="#{key}">{head}</a>' for key, head, _ in sections)
    body = [
        _opening(run, name, scores),
        f"<nav>{links}</nav>",
        gallery.hero(shown[:_HERO_SAMPLES]),
        _numbers(run, scores),
        *(f'<section id="{key}"><h2>{head}</h2>{content}</section>' for key, head, content in sections),
        _config(run),
    ]
    return document(name, body)


def document(title: str, body: Sequence[str]) -> str:
    """A self-contained page in the reports' style, from a title and content that are escaped already."""
    content = "".join(body)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>IRG-JAX: {title}</title><style>{STYLE}</style></head><body><main>{content}</main></body></html>\n"
    )


def _opening(run: Run, name: str, scores: dict[str, Any]) -> str:
    facts: list[tuple[str, Any]] = [
        ("weights", provenance.weights_of(run)),
        ("training data", provenance.data_of(run)),
        ("evaluated", provenance.evaluation_of(scores)),
    ]
    facts += [(key, run.info.get(key)) for key in ("command", "commit", "started")]
    facts += [(phase, duration(spent)) for phase, spent in run.info.get("seconds", {}).items()]
    return (
        f'<p class="kicker">IRG-JAX · Interleaving Reasoning Generation · run {name}</p>'
        "<h1>Think, generate, reflect, generate again</h1>"
        f'{_lead(run, scores)}<ul class="facts">{_items([(key, value) for key, value in facts if value])}</ul>'
    )


def _lead(run: Run, scores: dict[str, Any]) -> str:
    if not scores["samples"]:
        return ""
    target = _TARGETS.get(run.initial_target, _TARGETS[""])
    held_out = ""
    if provenance.is_held_out(run, scores):
        held_out = "No combination of objects in the scored prompts was in the training data of this run. "
    return (
        '<p class="lead">The model reads a prompt, writes thinking 1, generates image 1, looks at it, writes '
        f"thinking 2 about it, and generates image 2. {_reflection(scores)}{held_out}{target}</p>"
    )


def _items(facts: Sequence[tuple[str, object]]) -> str:
    return "".join(f"<li>{html.escape(key)} <b>{html.escape(str(value))}</b></li>" for key, value in facts)


def _numbers(run: Run, scores: dict[str, Any]) -> str:
    cells = _score_numbers(scores) if scores["scored"] else []
    if scores["samples"]:
        left = scores["complete"]["count"] - scores["complete"]["correct"]
        cells.append(
            _number(
                "Thinking 2 in its four parts", percent(scores["four_parts"]["share"]), count_of(scores["four_parts"])
            )
        )
        cells.append(_number("Samples", f"{scores['samples']:,}", f"thinking 2 cut off by the token limit: {left}"))
    if run.stages:
        last = [stage.rows[-1]["step"] for stage in run.stages]
        names = " + ".join(f"{stage.name} {step:,}" for stage, step in zip(run.stages, last, strict=True))
        cells.append(_number("Training steps", f"{sum(last):,}", names))
    return f'<div class="numbers">{"".join(cells)}</div>' if cells else ""


def _score_numbers(scores: dict[str, Any]) -> list[str]:
    first, second, change = scores["turn1"], scores["turn2"], scores["change"]
    gain = _signed(100 * (second["overall"] - first["overall"]))
    split = f"of {scores['scored']} images; sign test {_p_value(change['sign_test_p'])}"
    cells = [
        _number("Correct after turn 1", percent(first["overall"]), "mean of the kinds", "t1"),
        _number("Correct after turn 2", percent(second["overall"]), f"{gain} points on turn 1", "t2"),
        _number("Repaired / spoiled by turn 2", f"{change['fixed']} / {change['broken']}", split),
        _number("Fine detail, 0 to 1", f"{first['detail']:.2f} → {second['detail']:.2f}", "turn 1 → turn 2"),
    ]
    return cells + _perception_numbers(scores)


def _perception_numbers(scores: dict[str, Any]) -> list[str]:
    cells = []
    given = scores["perception"]
    seen, which = (given, "given pictures") if given else (scores["reflection"], "own drafts")
    if seen["balanced"] is not None:
        both = f"{which}: {count_of(seen['faulty'])} faulty, {count_of(seen['faultless'])} faultless"
        cells.append(_number("Faults rightly named, balanced", percent(seen["balanced"]), both))
    if scores["kept"] is not None:
        cells.append(_number("Kept by turn 2, 0 to 1", f"{scores['kept']:.2f}", "of what image 1 has right"))
    return cells


def _number(title: str, value: str, below: str, style: str = "") -> str:
    return (
        f'<div class="number"><span>{title}</span><b class="{style}">{value}</b><span>{html.escape(below)}</span></div>'
    )


def _scores(scores: dict[str, Any]) -> str:
    if not scores["scored"]:
        return ""
    first, second, change = scores["turn1"], scores["turn2"], scores["change"]
    rows = [
        _score_row(kind.replace("_", " "), share, second["kinds"][kind], "") for kind, share in first["kinds"].items()
    ]
    rows.append(_score_row("all images", first["pooled"], second["pooled"], "sum"))
    if len(first["manners"]) > 1:
        for name, mean in first["manners"].items():
            both = ({"share": mean}, {"share": second["manners"][name]})
            rows.append(_score_row(f"mean of {name.replace('_', ' ')}", *both, ""))
    overall = [{"share": turn["overall"]} for turn in (first, second)]
    rows.append(_score_row("mean of the kinds", overall[0], overall[1], ""))
    detail = [f"<td class=bar>{turn['detail']:.3f}</td>" for turn in (first, second)]
    gain = second["detail"] - first["detail"]
    rows.append(f"<tr><th>fine detail</th>{''.join(detail)}<td>{_delta(gain, f'{gain:+.3f}')}</td></tr>")
    return (
        '<p class="note">An image is correct when a rule-based scorer, which sees only its pixels, '
        "finds everything the prompt asks for and nothing else. "
        f"Turn 2 repaired {change['fixed']} images that were wrong in turn 1 and spoiled {change['broken']} that were "
        f"correct; {change['both_correct']} were correct in both turns, {change['both_wrong']} wrong in both. "
        "The brackets are Wilson 95 % intervals.</p>"
        '<div class="panel"><table><thead><tr><th>kind</th><th class="t1">turn 1</th><th class="t2">turn 2</th>'
        f"<th>change</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _reflection(scores: dict[str, Any]) -> str:
    """How often thinking 2 is true of image 1, which only a model that looks at the image can achieve."""
    faulty, faultless = scores["reflection"]["faulty"], scores["reflection"]["faultless"]
    sentences = []
    if faulty["count"]:
        sentences.append(
            "Where image 1 departs from the plan in thinking 1, or is badly executed, thinking 2 names exactly these "
            f"faults in {_cases(faulty)}"
        )
    if faultless["count"]:
        start = "where nothing is wrong" if sentences else "Where nothing is wrong with image 1"
        sentences.append(f"{start}, thinking 2 says so in {_cases(faultless)}")
    if not sentences:
        return "Whether thinking 2 is true of image 1 was not measured. "
    return f"{'; '.join(sentences)}. "


def _cases(share: dict[str, Any]) -> str:
    if share["correct"]:
        return f"{count_of(share)} {'case' if share['count'] == 1 else 'cases'}"
    return f"none of {share['count']} {'case' if share['count'] == 1 else 'cases'}"


def _unscored(scores: dict[str, Any]) -> int:
    return scores["samples"] - scores["scored"]


def _score_row(name: str, first: dict[str, Any], second: dict[str, Any], style: str) -> str:
    gain = 100 * (second["share"] - first["share"])
    cells = f"{_bar(first, 't1')}{_bar(second, 't2')}<td>{_delta(gain, _signed(gain))}</td>"
    return f'<tr class="{style}"><th>{html.escape(name)}</th>{cells}</tr>'


def _bar(share: dict[str, Any], style: str) -> str:
    counts = f" <small>{count_of(share)}</small>" if "count" in share else ""
    whisker = ""
    if "interval" in share:
        low, high = (100 * end for end in share["interval"])
        whisker = f'<u style="left:{low:.1f}%;width:{high - low:.1f}%"></u>'
    fill = f'<i style="width:{100 * share["share"]:.1f}%"></i>'
    return f'<td class="bar">{percent(share["share"])}{counts}<span class="track {style}">{fill}{whisker}</span></td>'


def _stage(stage: Stage) -> str:
    modes = dict.fromkeys(name for row in stage.rows for name in row if name.startswith("loss/"))
    time = [[(step, 1000 * value) for step, value in stage.series(name)] for name in ("time/data", "time/compute")]
    charts = [
        curves.chart("Loss", [(name, stage.series(name)) for name in ("loss", "ce", "mse")], log=True, raw=True),
        curves.chart(
            "Loss on held-out data",
            [("validation loss", stage.series("validation/loss"))],
            log=True,
            raw=False,
            smoothed=False,
        ),
        curves.chart(
            "Loss of each learning mode", [(_mode(name), stage.series(name)) for name in modes], log=True, raw=False
        ),
        curves.chart("Gradient norm", [("grad norm", stage.series("grad_norm"))], log=True, raw=True),
        curves.chart("Tokens per second", [("tokens/s", stage.series("tokens_per_s"))], log=False, raw=True),
        curves.chart(
            "Packing: used share of the token budgets",
            [("understanding", stage.series("fill/und")), ("generation", stage.series("fill/gen"))],
            log=False,
            raw=True,
        ),
        curves.chart("Step time, ms", [("waiting for data", time[0]), ("computing", time[1])], log=True, raw=True),
    ]
    return (
        f'<h3>Training: {html.escape(stage.name)}</h3>{_stage_facts(stage)}<div class="charts">{"".join(charts)}</div>'
    )


def _mode(column: str) -> str:
    # All six names have the same ending.
    return column.removeprefix("loss/").removesuffix("_learning").replace("_", " ")


def _stage_facts(stage: Stage) -> str:
    facts = [("steps", f"{stage.rows[-1]['step']:,}")]
    facts += [
        (f"last {name}", f"{value:.3g}") for name in ("loss", "ce", "mse", "lr") for value in last_value(stage, name)
    ]
    facts += [("median tokens/s", f"{value:,.0f}") for value in median_value(stage, "tokens_per_s")]
    facts += [("understanding fill", percent(value)) for value in median_value(stage, "fill/und")]
    facts += [("generation fill", percent(value)) for value in median_value(stage, "fill/gen")]
    for data in median_value(stage, "time/data"):
        for compute in median_value(stage, "time/compute"):
            facts.append(("waiting for data", percent(data / (data + compute) if data + compute else 0.0)))
    return f'<ul class="facts">{_items(facts)}</ul>'


def _gallery(shown: Sequence[gallery.ScoredSample], scores: dict[str, Any]) -> str:
    if not shown:
        return ""
    which = "All of them" if len(shown) == scores["samples"] else f"{len(shown)} of {scores['samples']}"
    checkpoints = html.escape(", ".join(scores["checkpoints"]))
    cards = "".join(gallery.card(sample, score) for sample, score in shown)
    return (
        f'<p class="note">{which}, the kinds in turn, each in the order of its samples; '
        f"none was picked or left out for how it looks. Checkpoint: <code>{checkpoints}</code>.</p>{cards}"
    )


def _config(run: Run) -> str:
    if not run.config:
        return ""
    text = html.escape(json.dumps(run.config, indent=2, ensure_ascii=False))
    return f"<h2>Config</h2><details><summary>The resolved config of this run</summary><pre>{text}</pre></details>"


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def _delta(gain: float, text: str) -> str:
    return f'<span class="{"up" if gain > 0 else "down" if gain < 0 else ""}">{text.replace("-", "−")}</span>'


def _p_value(p: float) -> str:
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"
