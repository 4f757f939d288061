"""The section of the report on perception: the data set's weak pictures beside the model's own drafts."""

import html
from typing import Any

from irg_jax.reporting.wording import count_of, percent
from irg_jax.worlds.shapes.faults import FAULT_KINDS

_NONE = "<td>—</td>"
_ALL = (
    ("seen", "says exactly what the picture shows"),
    ("faulty", "names exactly the faults, where there are some"),
    ("faultless", "says that nothing is wrong, where nothing is"),
)
_PICTURES = (
    ("several", "pictures with two or more faults"),
    ("unplanned", "pictures with an object that nobody planned"),
)


def section(scores: dict[str, Any]) -> str:
    """The section, from the content of scores.json; empty where no thinking 2 could be judged."""
    given, own = scores["perception"], scores["reflection"]
    if not given and not scores["scored"]:
        return ""
    rows = [_row(name, key, given, own) for key, name in _ALL]
    cells = "".join(_balanced(group) for group in (given, own))
    rows.append(f'<tr class="sum"><th>balanced: mean of the last two</th>{cells}</tr>')
    # Those without any are in the rows above.
    counts = [name for name in own["by_count"] if name != "0"]
    for key, names, label in (
        ("by_count", counts, "names exactly the faults, {} of them"),
        ("by_kind", FAULT_KINDS, "names the fault “{}”"),
    ):
        groups = [group[key] if group else {} for group in (given, own)]
        rows += [_row(label.format(name), name, *groups) for name in names if any(name in group for group in groups)]
    rows += [_row(name, key, given, own) for key, name in _PICTURES]
    if scores["kept"] is not None:
        kept = f"<td>{scores['kept']:.2f}</td>"
        rows.append(f"<tr><th>image 2 keeps what image 1 has right, 0 to 1</th>{_NONE}{kept}</tr>")
    which = f"of the checkpoint of step {given['step']}" if given else "not measured"
    return (
        '<p class="note">How true thinking 2 is of its picture, which is read exactly from the pixels. '
        f"<b>Given</b>, {which}: weak pictures of held-out records with their prompt and thinking 1, so that painting "
        "plays no part. <b>Own drafts</b>: image 1 of the samples, against the plan that the model wrote. A model that "
        "always finds fault, or never does, has one of the two figures in full; so only their mean counts. "
        "In brackets: Wilson 95 % intervals.</p>"
        '<div class="panel scroll"><table><thead><tr><th>thinking 2</th><th>given</th><th>own drafts</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(name: str, key: str, given: dict[str, Any] | None, own: dict[str, Any]) -> str:
    cells = "".join(_cell((group or {}).get(key)) for group in (given, own))
    return f"<tr><th>{html.escape(name)}</th>{cells}</tr>"


def _cell(share: dict[str, Any] | None) -> str:
    if not share or not share["count"]:
        return _NONE
    low, high = (round(100 * end) for end in share["interval"])
    return f"<td>{percent(share['share'])} <small>[{low}, {high}] {count_of(share)}</small></td>"


def _balanced(group: dict[str, Any] | None) -> str:
    return _NONE if not group or group["balanced"] is None else f"<td>{percent(group['balanced'])}</td>"
