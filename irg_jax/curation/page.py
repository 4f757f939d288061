"""OUT/index.html: records step by step side by side, what was rejected and why, what it cost."""

import collections
import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irg_jax.core.small_files import write_text
from irg_jax.curation.config import STEPS
from irg_jax.curation.outputs import RECORDS, REJECTED, Lines
from irg_jax.data.images import encoded_size
from irg_jax.endpoints.journal import Spending
from irg_jax.reporting.gallery import MIN_SMOOTH_SIDE, thinking_html
from irg_jax.reporting.page import document

FILE = "index.html"
_EXAMPLES = 3  # of each reason
_ANSWER_CHARS = 600
_STYLE = "<style>.flow .image { aspect-ratio: auto; }</style>"  # pictures of any shape, not all square


def write_page(
    out: Path, records: Lines, rejected: Lines, spending: Mapping[tuple[str, str], Spending], samples: int
) -> None:
    """Writes the page. Its pictures are those in OUT/images.

    Args:
      out: the output folder.
      records: finished ones; evenly spread ones are shown.
      rejected: with their reasons.
      spending: of all runs in this folder, by step and model.
      samples: how many records are shown.

    Raises:
      OSError: it cannot be written.
    """
    name = html.escape(out.name)
    body = [
        _STYLE,
        f'<p class="kicker">IRG-JAX · curation · {name}</p><h1>Prompts, teachers, records</h1>',
        f'<p class="lead">{len(records):,} records in <code>{RECORDS}</code>, {len(rejected):,} rejected in '
        f"<code>{REJECTED}</code>.</p>",
        _costs(spending),
        _rejects(json.loads(line) for _, line in rejected.in_order()),
        _samples(out, records, samples),
    ]
    write_text(out / FILE, document(name, body))


def _costs(spending: Mapping[tuple[str, str], Spending]) -> str:
    if not spending:
        return ""
    titles = ("step", "model", "requests", "answers", "tokens read", "tokens written", "cost", "may have cost")
    rows = [
        (step, model, *(f"{count:,}" for count in (x.requests, x.answers, x.input_tokens, x.output_tokens)),
         f"{x.cost:.4f}", f"{x.unanswered:.4f}")
        for (step, model), x in sorted(spending.items(), key=_order)
    ]  # fmt: skip
    paid, perhaps = (sum(getattr(x, name) for x in spending.values()) for name in ("cost", "unanswered"))
    rows.append(("all", "", "", "", "", "", f"{paid:.4f}", f"{perhaps:.4f}"))
    note = (
        '<p class="note">In the currency of the prices. "May have cost": requests that were sent and got no answer, at '
        "their highest possible cost; they count as spent.</p>"
    )
    return f"<h2>Cost</h2>{note}{_table(titles, rows)}"


def _order(entry: tuple[tuple[str, str], Spending]) -> tuple[int, str]:
    (step, model), _ = entry
    return [*STEPS].index(step), model  # type: ignore[arg-type]


def _rejects(lines: Iterable[dict[str, Any]]) -> str:
    by_rule: dict[tuple[str, str], list[dict[str, Any]]] = {}
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in lines:
        rule = (line["step"], line["rule"])
        counts[rule] += 1
        if counts[rule] <= _EXAMPLES:
            by_rule.setdefault(rule, []).append(line)
    if not counts:
        return ""
    rows = [(step, rule, f"{count:,}") for (step, rule), count in counts.most_common()]
    examples = "".join(_reject(line) for rule, _ in counts.most_common() for line in by_rule[rule])
    return (
        f"<h2>Rejected</h2>{_table(('step', 'rule', 'records'), rows)}"
        f"<details><summary>Examples of each rule, the first ones</summary>{examples}</details>"
    )


def _reject(line: Mapping[str, Any]) -> str:
    answer = line["answer"][:_ANSWER_CHARS]
    text = f"<pre>{html.escape(answer)}</pre>" if answer else ""
    tag = f"{line['step']} · {line['rule']} · asked {line['attempts']} times · {line['where']}"
    return (
        f'<article class="card"><header><h3>{html.escape(line["prompt"])}</h3>'
        f'<span class="tag">{html.escape(tag)}</span></header><p>{html.escape(line["reason"])}</p>{text}</article>'
    )


def _samples(out: Path, records: Lines, limit: int) -> str:
    count = len(records)
    shown = {i * count // min(limit, count) for i in range(min(limit, count))} if limit else set()
    if not shown:
        return ""
    cards = "".join(_card(out, json.loads(line)) for i, (_, line) in enumerate(records.in_order()) if i in shown)
    note = f"{len(shown)} of {count:,}, evenly spread over the input; none was picked for how it looks."
    return f'<h2>Records</h2><p class="note">{note}</p>{cards}'


def _card(out: Path, record: Mapping[str, Any]) -> str:
    made = ", ".join(f"{step}: {model}" for step, model in record.get("teachers", {}).items())
    tag = " · ".join(filter(None, (record["key"], record.get("source", ""), record.get("licence", ""), made)))
    parts = "".join(
        _text(record, f"thinking{turn}", turn) + _picture(out, record, f"image{turn}", turn) for turn in (1, 2)
    )
    return (
        f'<article class="card"><header><h3>{html.escape(record["prompt"])}</h3>'
        f'<span class="tag">{html.escape(tag)}</span></header><div class="flow">{parts}</div></article>'
    )


def _text(record: Mapping[str, Any], step: str, turn: int) -> str:
    text = thinking_html(record[step]) if step in record else '<p class="note">none</p>'
    return f'<section><p class="label t{turn}">Thinking {turn}</p><div class="thinking">{text}</div></section>'


def _picture(out: Path, record: Mapping[str, Any], step: str, turn: int) -> str:
    head = f'<p class="label t{turn}">Image {turn}</p>'
    if step not in record:
        return f'<section>{head}<p class="note">none</p></section>'
    size = encoded_size((out / record[step]).read_bytes(), record["key"])
    style = "image pixel" if max(size) < MIN_SMOOTH_SIDE else "image"
    source, alt = (html.escape(text, quote=True) for text in (record[step], f"{step}: {record['prompt']}"))
    return f'<section>{head}<img class="{style}" loading="lazy" alt="{alt}" src="{source}"></section>'


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="panel scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
