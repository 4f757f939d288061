"""Scored runs beside each other and beside published rows, as one self-contained HTML page."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from irg_jax.benchmarks.preference import ALL_CATEGORIES, ALL_JUDGES, WinRate
from irg_jax.benchmarks.published import MODELS, PUBLISHED_PREFERENCES
from irg_jax.benchmarks.results import Figure
from irg_jax.reporting import bars
from irg_jax.reporting.benchmark_comparison import Change, Group, Judged, Scored, Summary
from irg_jax.reporting.benchmark_gallery import best_and_worst
from irg_jax.reporting.page import document

_PROBLEMS = 20  # listed of each result
_NONE = "—"
_STYLE = (
    f"<style>{bars.STYLE} .pair .image {{ aspect-ratio: auto; }} td, thead th {{ white-space: nowrap; }}"
    " .scroll td, .scroll th { min-width: 84px; } .scroll tr > :first-child { min-width: 190px; }"
    " section h4 { margin: 18px 0 0; font-size: 15px; }"
    " .warning { border-left: 3px solid var(--bad); padding-left: 12px; max-width: 86ch; overflow-wrap: anywhere; }"
    " .facts li { overflow-wrap: anywhere; } .scroll thead th { white-space: normal; }"
    " .scroll .badge { white-space: nowrap; } .panel + .note, .panel + .warning { margin-top: 12px; }</style>"
)


def render(
    groups: Sequence[Group], judged: Sequence[Judged], warnings: Sequence[str], benchmarks: Mapping[str, Summary]
) -> str:
    """The whole page. Every text of the results is escaped."""
    sections = [
        (f"g{number}", f"{group.title}, version {group.version}", _group(group, benchmarks[group.benchmark]))
        for number, group in enumerate(groups)
    ]
    if judged:
        sections.append(("preference", "Which is preferred", "".join(map(_judged, judged)) + _published_preference()))
    links = "".join(f'<a href="#{key}">{html.escape(head)}</a>' for key, head, _ in sections)
    runs = list(dict.fromkeys(own.result.run for group in groups for own in group.scored))
    count = sum(len(group.scored) for group in groups)
    lead = (
        f"{count} {'result' if count == 1 else 'results'} of {len(runs)} {'run' if len(runs) == 1 else 'runs'}. "
        "Brackets are 95 % intervals from a bootstrap over prompts, stratified by category: they say how far a figure "
        "would move with other prompts of the same kind, not with another judge or another seed."
    )
    body = [
        _STYLE,
        f'<p class="kicker">IRG-JAX · benchmarks · {html.escape(" · ".join(runs))}</p>',
        f'<h1>Benchmarks</h1><p class="lead">{lead}</p>{_warnings(warnings)}<nav>{links}</nav>',
        *(f'<section id="{key}"><h2>{html.escape(head)}</h2>{content}</section>' for key, head, content in sections),
    ]
    return document("benchmarks", body)


def _group(group: Group, benchmark: Summary) -> str:
    parts = [_warnings(group.warnings), _figures(group), *map(_protocol, group.scored), _sources(group)]
    if group.turns:
        parts += ["<h3>Each turn minus the one before</h3>", _changes(group.turns)]
    if group.runs:
        parts += ["<h3>Other runs minus the first, each in its last turn</h3>", _changes(group.runs)]
    runs = [(own.label, _categories(own)) for own in group.scored]
    parts.append(bars.charts("Figures by category", runs))
    for change in group.turns:
        head = f"Best and worst: {change.before.label} → {change.after.label}"
        parts += [f"<h3>{html.escape(head)}</h3>", best_and_worst(change, benchmark)]
    return "".join(parts)


def _figures(group: Group) -> str:
    columns: list[tuple[str, Mapping[str, str]]] = [
        (_result_head(own), {own.result.shown_name(name): _with_interval(x) for name, x in own.result.figures.items()})
        for own in group.scored
    ]
    for row in group.published:
        other = f'<br><span class="badge bad">version {html.escape(row.version)}</span>'
        head = f"{html.escape(row.model)}<br><small>published</small>{other if row.version != group.version else ''}"
        columns.append((head, {name: f"{value:g}" for name, value in row.figures.items()}))
    return _table("figure", columns)


def _result_head(own: Scored) -> str:
    result = own.result
    count = f"{result.scored_items} of {result.expected_items} prompts, {len(result.rows)} images"
    badges = "" if result.complete else '<br><span class="badge bad">not complete</span>'
    badges += "" if result.comparable else '<br><span class="badge bad">not comparable</span>'
    return f"{html.escape(own.label)}<br><small>{count}</small>{badges}"


def _with_interval(figure: Figure) -> str:
    if math.isnan(figure.value):
        return _NONE
    interval = "" if math.isnan(figure.low) else f" <small>[{figure.low:.3f}, {figure.high:.3f}]</small>"
    return f"{figure.value:.4f}{interval}"


def _protocol(own: Scored) -> str:
    result = own.result
    facts = [
        ("version", f"{result.benchmark} {result.version}"),
        ("checkpoint", f"{result.checkpoint}, step {result.step}"),
        ("turn", str(result.turn)),
        ("seed", str(result.seed)),
        *result.protocol.items(),
        ("compares with published figures", "yes" if result.comparable else "no"),
        ("folder", str(own.folder)),
    ]
    items = "".join(f"<li>{html.escape(name)} <b>{html.escape(value)}</b></li>" for name, value in facts)
    head = f'<p class="note"><b>{html.escape(own.label)}</b>, protocol:</p>'
    return f'{head}<ul class="facts">{items}</ul>{_problems(own.result.problems)}'


def _problems(problems: Sequence[tuple[str, str, str]]) -> str:
    if not problems:
        return ""
    more = len(problems) - _PROBLEMS
    lines = [f"{kind}: {where}: {reason}" for kind, where, reason in problems[:_PROBLEMS]]
    lines += [f"and {more} more, in the file of the results"] if more > 0 else []
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<details><summary>Problems: {len(problems)}</summary><ul class="reasons">{items}</ul></details>'


def _sources(group: Group) -> str:
    lines = [
        f"{row.model}, version {row.version}: {row.source}{f' ({row.note})' if row.note else ''}"
        for row in group.published
    ]
    missing = [model for model in MODELS if model not in {row.model for row in group.published}]
    if missing:
        lines.append(f"No figure with a source is known to us for {', '.join(missing)}")
    if not all(own.result.comparable for own in group.scored):
        lines.append(
            "Results marked “not comparable” were not made by the official protocol, so these are no bar for them"
        )
    return f'<p class="note">Published figures. {html.escape(". ".join(lines))}.</p>'


def _changes(changes: Sequence[Change]) -> str:
    columns = []
    for change in changes:
        head = f"{html.escape(change.after.label)}<br><small>minus {html.escape(change.before.label)}</small>"
        cells = {
            change.after.result.shown_name(name): _difference(difference.value, difference.low, difference.high)
            for name, difference in change.figures.items()
        }
        columns.append((head, cells))
    refused = [f"{x.after.label} minus {x.before.label}: not compared: {x.refused}." for x in changes if x.refused]
    table = _table("difference", [column for column in columns if column[1]])
    return f"{table}{_warnings(refused)}"


def _difference(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return _NONE
    # Coloured only where the interval leaves out 0.
    direction = "up" if low > 0 else "down" if high < 0 else ""
    interval = "" if math.isnan(low) else f" <small>[{low:+.3f}, {high:+.3f}]</small>"
    return f'<span class="{direction}">{value:+.4f}</span>{interval}'.replace("-", "−")


def _categories(own: Scored) -> dict[str, bars.Bar]:
    return {
        name: bars.Bar(figure.value, figure.low, figure.high)
        for name, figure in own.result.figures.items()
        if not name.endswith("overall")
    }


def _judged(own: Judged) -> str:
    verdicts, found = own.verdicts, own.preference
    rows = [
        (judge, category, rate)
        for (judge, category), rate in found.win_rates.items()
        if category == ALL_CATEGORIES or judge == ALL_JUDGES
    ]
    # All judges first, then each; then the categories.
    rows.sort(key=lambda row: (row[1] != ALL_CATEGORIES, row[1], row[0] != ALL_JUDGES))
    head = (
        f"{html.escape(verdicts.a)} (A) against {html.escape(verdicts.b)} (B), on {html.escape(verdicts.benchmark)}, "
        f"version {html.escape(verdicts.version)}"
    )
    titles = ("judge", "category", "A preferred, ties half", "A", "B", "tie", "tie by position", "first chosen",
              "same in both orders")  # fmt: skip
    body = "".join(_win_rate_row(own, *row) for row in rows)
    columns = "".join(f"<th>{title}</th>" for title in titles)
    facts = "".join(
        f"<li>{html.escape(name)} <b>{html.escape(value)}</b></li>" for name, value in verdicts.protocol.items()
    )
    half = f" {len(found.half_judged)} pairs were judged in one order only and are not counted." * bool(
        found.half_judged
    )
    agreement = (
        f"Judges agree on {_share(found.agreement)} of the pairs that two of them judged; Krippendorff’s alpha "
        f"{_number(found.alpha)} (1 full agreement, 0 as by chance).{half}"
    )
    return (
        f'<h3>{head}</h3><div class="panel scroll"><table><thead><tr>{columns}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f'<p class="note">{agreement}</p><ul class="facts">{facts}</ul>{_problems(verdicts.problems)}'
    )


def _win_rate_row(own: Judged, judge: str, category: str, rate: WinRate) -> str:
    bias = own.preference.bias.get(judge) if category == ALL_CATEGORIES else None
    value = f"{_share(rate.value)} <small>[{100 * rate.low:.1f}, {100 * rate.high:.1f}]</small>"
    counts = (rate.wins, rate.losses, rate.ties, rate.position_ties)
    shares = (_share(bias.first_share), _share(bias.consistency)) if bias else (_NONE, _NONE)
    cells = [html.escape(category), value, *map(str, counts), *shares]
    return f"<tr><th>{html.escape(judge)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _published_preference() -> str:
    lines = "; ".join(
        f"{own.judges} preferred turn 2 in {_share(own.turn2)} and turn 1 in {_share(own.turn1)} ({own.source})"
        for own in PUBLISHED_PREFERENCES
    )
    return f'<p class="note">Published for IRG: {html.escape(lines)}.</p>'


def _share(value: float) -> str:
    return _NONE if math.isnan(value) else f"{100 * value:.1f} %"


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.3f}".replace("-", "−")


def _warnings(warnings: Iterable[str]) -> str:
    return "".join(f'<p class="warning">{html.escape(warning)}</p>' for warning in warnings)


def _table(corner: str, columns: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """A table of columns whose heads and cells are escaped already; names of figures are not."""
    if not columns:
        return ""
    names = dict.fromkeys(name for _, cells in columns for name in cells)
    head = "".join(f"<th>{text}</th>" for text, _ in columns)
    lines = "".join(
        f'<tr class="{"sum" if "overall" in name else ""}"><th>{html.escape(name)}</th>'
        f"{''.join(f'<td>{cells.get(name, _NONE)}</td>' for _, cells in columns)}</tr>"
        for name in names
    )
    return (
        f'<div class="panel scroll"><table><thead><tr><th>{corner}</th>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )
