"""Draws curves as inline SVG; the colours come from the page's style sheet."""

import html
import math
from collections.abc import Sequence

from irg_jax.reporting.figure import COLOURS, colour, figure

Points = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 400, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 8, 10, 24
_MAX_POINTS = 500
MAX_LINES = 2 * COLOURS


def smooth(points: Points) -> list[tuple[float, float]]:
    """A bias-corrected exponential moving average over about 1/40 of the curve, at least 4 points."""
    keep = 1 - 1 / max(4.0, len(points) / 40)
    total = weight = 0.0
    smoothed = []
    for step, value in points:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        smoothed.append((step, total / weight))
    return smoothed


def chart(title: str, lines: Sequence[tuple[str, Points]], *, log: bool, raw: bool, smoothed: bool = True) -> str:
    """One chart as a `<figure>`: a smoothed line for every named curve, and the raw one behind it where `raw`.

    Args:
      title: the heading over the chart, plain text.
      lines: (name, points), at most `MAX_LINES`, in the order of their colours; a curve without a finite point is left
        out, and its colour with it, so that a name has one colour in all charts.
      log: a logarithmic value axis; values of 0 and below are left out.
      raw: draw the unsmoothed curve too.
      smoothed: False draws the points as they are, for curves of few points.

    Returns:
      HTML, or "" where no curve has a point.
    """
    finite = [(name, [p for p in points if math.isfinite(p[1]) and (p[1] > 0 or not log)]) for name, points in lines]
    kept = [(colour(i, "dashed"), name, points) for i, (name, points) in enumerate(finite) if points]
    if not kept:
        return ""
    shown = [smooth(points) if smoothed else points for _, _, points in kept]
    drawn = [value for points in shown for _, value in points]
    if raw:
        # The highest and lowest hundredth of the raw values may leave the frame: one spike must not flatten a curve.
        every = sorted(value for _, _, points in kept for _, value in points)
        drawn += [every[len(every) // 100], every[-1 - len(every) // 100]]
    low, high = min(drawn), max(drawn)
    if log:
        low, high = low / 1.1, high * 1.1
        ticks = _log_ticks(low, high)
    else:
        ticks = _linear_ticks(min(0.0, low), high)
        low, high = ticks[0], ticks[-1]
    steps = [step for _, _, points in kept for step, _ in points]
    frame = _Frame(min(steps), max(steps), low, high, log)
    body = [frame.y_tick(value) for value in ticks] + [frame.x_tick(step) for step in frame.x_ticks()]
    if raw:
        body += [f'<path class="raw {style}" d="{frame.path(points)}"/>' for style, _, points in kept]
    lines_drawn = [(style, name, points) for (style, name, _), points in zip(kept, shown, strict=True)]
    body += [f'<path class="line {style}" d="{frame.path(points)}"/>' for style, _, points in lines_drawn]
    legend = "".join(
        f'<li><i class="{style}"></i>{html.escape(name)} <b>{_number(points[-1][1])}</b></li>'
        for style, name, points in lines_drawn
    )
    return figure(title, f"{title} by training step", (_WIDTH, _HEIGHT), "".join(body), legend)


class _Frame:
    """Maps steps and values to positions in the SVG."""

    def __init__(self, first: float, last: float, low: float, high: float, log: bool) -> None:
        self._scale = math.log10 if log else float
        self._first, self._steps = first, (last - first) or 1.0
        self._low = self._scale(low)
        self._span = (self._scale(high) - self._low) or 1.0

    def _x(self, step: float) -> float:
        return _LEFT + (step - self._first) / self._steps * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        height = (self._scale(value) - self._low) / self._span
        return _HEIGHT - _BOTTOM - min(1.0, max(0.0, height)) * (_HEIGHT - _TOP - _BOTTOM)

    def path(self, points: Points) -> str:
        # Every n-th point: a longer run must not make a heavier page.
        stride = math.ceil(len(points) / _MAX_POINTS)
        shown = list(points[:-1:stride]) + [points[-1]]
        return "M" + "L".join(f"{self._x(step):.1f} {self._y(value):.1f}" for step, value in shown)

    def y_tick(self, value: float) -> str:
        y = self._y(value)
        return (
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>'
        )

    def x_ticks(self) -> list[float]:
        last = self._first + self._steps
        ticks = [tick for tick in _linear_ticks(self._first, last) if self._first <= tick <= last]
        return [tick for tick in ticks if tick == int(tick)]

    def x_tick(self, step: float) -> str:
        x = self._x(step)
        anchor = "end" if x > _WIDTH - _RIGHT - 24 else "middle"
        return f'<text x="{x:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{_number(step)}</text>'


def _number(value: float) -> str:
    if abs(value) < 1000:
        return f"{value:.3g}"
    if abs(value) < 10_000:
        return f"{value:.0f}"
    size, letter = next(pair for pair in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= pair[0])
    return f"{value / size:.3g}{letter}"


def _linear_ticks(low: float, high: float) -> list[float]:
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999)
    return [round(index * step, 12) for index in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in decades for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 6:
            break
    # A curve flatter than the distance between two ticks gets its own ends as ticks.
    return ticks[:: math.ceil(len(ticks) / 6)] if len(ticks) > 1 else [low, high]
