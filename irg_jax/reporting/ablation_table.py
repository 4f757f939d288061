"""The page of an ablation: a row for each variant, and the controls of its second turns, from the runs' scores.json."""

import datetime
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from irg_jax.benchmarks.benchmark import Row
from irg_jax.reporting.controls import difference, figures, rows
from irg_jax.reporting.wording import signed_interval

_COLUMNS = (
    "variant",
    "description",
    "overall, turn 1",
    "overall, turn 2",
    "turn 2 − turn 1",
    "detail, turn 1",
    "detail, turn 2",
    "repaired",
    "damaged",
    "kept",
    "faults named, given",
    "faults named, own",
)
_TURNS = ("turn1", "turn2")
_CONTROLS = ("variant", "second turn with", "overall", "minus turn 2", "minus turn 1")
_LEGEND = """`overall` is the mean over the benchmarks in whose manner the prompts ask of the mean over their kinds,
`detail` the fine-detail score. `repaired` are the wrong first images whose second is right, `damaged` the right ones
whose second is wrong. `kept` is how well image 2 keeps what image 1 has right, from 0 to 1. `faults named`: thinking 2
is exactly right, the mean of faulty and faultless pictures, on weak pictures of the data (given) and on the model's
own. Differences are in percentage points; in brackets a 95 % interval from a paired bootstrap over prompts, the seeds
of a prompt together."""


def page(
    scores: Mapping[str, Sequence[dict[str, Any]]],
    descriptions: Mapping[str, str],
    config: dict[str, Any],
    commit: str,
    one_turn: Sequence[str],
) -> str:
    """The page, Markdown.

    Args:
      scores: the scores.json of each seed, by variant.
      descriptions: one line for each variant.
      config: of one of the runs; what it says of steps and budgets is the same for all.
      commit: of the runs.
      one_turn: variants that never learn a second turn; they have no row of controls.
    """
    stage, seeds = config["stages"]["stage1"], max(map(len, scores.values()))
    budgets = stage["data"]["budgets"]
    untrained = ", ".join(f"`{name}`" for name in one_turn)
    parts = [
        "# Ablation on the shapes world",
        f"`{' '.join(['python -m irg_jax.ablate', *sys.argv[1:]])}`, commit {commit}, {platform.machine()} CPU,\n"
        f"{datetime.date.today().isoformat()}. Each run: {stage['steps']} steps of {stage['data']['batch_size']} rows "
        "of\n"
        f"{budgets['und']} + {budgets['gen']} tokens (und + gen) in one stage, the same for all;\n"
        f"{config['evaluate']['prompts']} held-out prompts; mean ± standard deviation over {seeds} seed(s).",
        _table(_COLUMNS, [_row(name, descriptions[name], own) for name, own in scores.items()]),
        _LEGEND,
    ]
    two_turns = [name for name in scores if name not in one_turn]
    if one_turn:
        parts.append(f"Never trained on a second turn, so that only the first one counts: {untrained}.")
    if one_turn and two_turns:
        parts += [
            "## Against one turn with as many training tokens",
            "Turn 2 minus the only turn of a variant that never learns a second one, on the same prompts.",
            _table(
                ("variant", *(f"minus `{name}`" for name in one_turn)),
                [_against_row(name, scores, one_turn) for name in two_turns],
            ),
        ]
    manners = list(scores[next(iter(scores))][0]["turn1"]["manners"])
    if len(manners) > 1:
        parts += [
            "## By benchmark",
            "In whose manner the prompts ask: the mean over its kinds, after turn 1 → turn 2.",
            _table(("variant", *manners), [_manner_row(name, own, manners) for name, own in scores.items()]),
        ]
    controls = [row for name in two_turns for row in _control_rows(name, scores[name])]
    if controls:
        parts += ["## Controls", "The second turn with one thing changed.", _table(_CONTROLS, controls)]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, ["---"] * len(columns), *lines])


def _row(name: str, description: str, scores: Sequence[dict[str, Any]]) -> list[str]:
    change = difference(_rows(scores, "turn1"), _rows(scores, "turn2"))
    overall, detail = ([_spread([s[turn][key] for s in scores]) for turn in _TURNS] for key in ("overall", "detail"))
    return [
        f"`{name}`",
        description.strip(),
        *overall,
        signed_interval(change) if change else "–",
        *detail,
        *(_pooled(scores, key) for key in ("repaired", "damaged")),
        _spread([s["kept"] for s in scores]),
        *(_spread([(s[where] or {}).get("balanced") for s in scores]) for where in ("perception", "reflection")),
    ]


def _against_row(name: str, scores: Mapping[str, Sequence[dict[str, Any]]], one_turn: Sequence[str]) -> list[str]:
    second = _rows(scores[name], "turn2")
    found = (difference(_rows(scores[other], "turn1"), second) for other in one_turn)
    return [f"`{name}`", *(signed_interval(change) if change else "–" for change in found)]


def _manner_row(name: str, scores: Sequence[dict[str, Any]], manners: Sequence[str]) -> list[str]:
    turns = [[_spread([s[turn]["manners"][manner] for s in scores]) for manner in manners] for turn in _TURNS]
    return [f"`{name}`", *(" → ".join(pair) for pair in zip(*turns, strict=True))]


def _control_rows(name: str, scores: Sequence[dict[str, Any]]) -> list[list[str]]:
    lines = []
    for control in dict.fromkeys(control for s in scores for control in s["controls"]):
        own = _rows(scores, control)
        against = (difference(_rows(scores, f"turn{turn}"), own) for turn in (2, 1))
        share = f"{100 * figures(own)['overall']:.1f} %"
        lines.append([f"`{name}`", control, share, *(signed_interval(found) for found in against if found)])
    return lines


def _rows(scores: Sequence[dict[str, Any]], what: str) -> list[Row]:
    return [row for seed, s in enumerate(scores) for row in rows(s["items"], what, seed)]


def _pooled(scores: Sequence[dict[str, Any]], key: str) -> str:
    hits, count = (sum(s["change"][key][what] for s in scores) for what in ("correct", "count"))
    return f"{100 * hits / count:.0f} % ({hits} of {count})" if count else "–"


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return f"{known[0]:.2f}" if known else "–"
    return f"{statistics.mean(known):.2f} ± {statistics.stdev(known):.2f}"
