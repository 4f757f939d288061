"""Draws figures of several runs as horizontal bars, in inline SVG; the colours come from the page's style sheet."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from irg_jax.reporting.figure import colour, figure

STYLE = "".join(f".chart rect.c{i} {{ fill: var(--c{i}); }}" for i in range(6)) + (
    ".chart rect.pale { opacity: 0.5; } .chart .whisker { stroke: var(--ink); stroke-width: 1.2; }"
    ".chart text.name { fill: var(--ink); } .legend i.pale { opacity: 0.5; }"
)

_WIDTH = 400
_AGAIN = "pale"
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 50, 4, 20
_BAR, _GAP, _NAME = 9, 12, 16  # height of a bar, of the space between groups, of a group's name
_GROUPS = 8  # in a chart


class Bar(NamedTuple):
    """A share with its interval; NaN for the ends where there is none.

    Attributes:
      value: 0 to 1.
      low: lower end of the interval, likewise ``high``.
      high: see ``low``.
    """

    value: float
    low: float
    high: float


def charts(title: str, runs: Sequence[tuple[str, Mapping[str, Bar]]]) -> str:
    """Bars of each figure for each run, from 0 to 1, in as many charts as are needed.

    Args:
      title: the heading over each chart, plain text.
      runs: (name, figures) in the order of their colours, which repeat paler after the sixth; values that are NaN are
        left out.

    Returns:
      HTML, or "" without any value.
    """
    names = [
        name
        for name in dict.fromkeys(name for _, figures in runs for name in figures)
        if any(name in figures and math.isfinite(figures[name].value) for _, figures in runs)
    ]
    parts = [names[start : start + _GROUPS] for start in range(0, len(names), _GROUPS)]
    heads = [title] if len(parts) == 1 else [f"{title} ({number} of {len(parts)})" for number in range(1, 99)]
    figures = "".join(_chart(head, part, runs) for head, part in zip(heads, parts, strict=False))
    return f'<div class="charts">{figures}</div>' if figures else ""


def _chart(title: str, names: Sequence[str], runs: Sequence[tuple[str, Mapping[str, Bar]]]) -> str:
    body, top = [], float(_TOP)
    for name in names:
        body.append(f'<text class="name" x="{_LEFT}" y="{top + 11:.1f}">{html.escape(name)}</text>')
        top += _NAME
        for index, (run, figures) in enumerate(runs):
            if name in figures and math.isfinite(figures[name].value):
                body.append(_bar(figures[name], top, colour(index, _AGAIN), f"{run}, {name}"))
                top += _BAR + 1
        top += _GAP
    height = top - _GAP + _BOTTOM
    grid = "".join(
        f'<path class="grid" d="M{_x(tick):.1f} {_TOP}V{height - _BOTTOM + 2:.1f}"/>'
        f'<text x="{_x(tick):.1f}" y="{height - 5:.1f}" text-anchor="middle">{tick:g}</text>'
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    legend = "".join(
        f'<li><i class="{colour(index, _AGAIN)}"></i>{html.escape(run)}</li>' for index, (run, _) in enumerate(runs)
    )
    return figure(title, title, (_WIDTH, height), grid + "".join(body), legend)


def _bar(bar: Bar, top: float, style: str, name: str) -> str:
    middle, end = top + _BAR / 2, max(bar.value, bar.high) if math.isfinite(bar.high) else bar.value
    whisker = ""
    if math.isfinite(bar.low) and math.isfinite(bar.high):
        whisker = f'<path class="whisker" d="M{_x(bar.low):.1f} {middle:.1f}H{_x(bar.high):.1f}"/>'
    return (
        f'<rect class="{style}" x="{_LEFT}" y="{top:.1f}" width="{_x(bar.value) - _LEFT:.1f}" height="{_BAR}">'
        f"<title>{html.escape(name)}: {bar.value:.4f}</title></rect>{whisker}"
        f'<text x="{_x(end) + 4:.1f}" y="{middle + 4:.1f}">{bar.value:.3f}</text>'
    )


def _x(value: float) -> float:
    return _LEFT + min(1.0, max(0.0, value)) * (_WIDTH - _LEFT - _RIGHT)
