"""Bars as SVG: one for each value, whiskers for intervals, and as many charts as needed."""

import math

from irg_jax.reporting import bars
from irg_jax.reporting.bars import Bar


def test_each_value_has_a_bar_and_each_interval_a_whisker():
    runs = [("one", {"colors": Bar(0.5, 0.4, 0.6), "text": Bar(math.nan, math.nan, math.nan)})]
    runs.append(("two <b>", {"colors": Bar(0.7, math.nan, math.nan)}))
    text = bars.charts("By category", runs)
    assert text.count("<rect") == 2 and text.count('class="whisker"') == 1
    assert "two &lt;b&gt;" in text and "text</text>" not in text


def test_lengths_are_in_proportion_and_stay_in_the_frame():
    text = bars.charts("t", [("one", {"half": Bar(0.5, 0.5, 0.5), "whole": Bar(1.0, 1, 1), "above": Bar(1.5, 1, 2)})])
    widths = [float(part.split('"')[0]) for part in text.split('width="')[1:]]
    assert widths[1] == widths[2] == 2 * widths[0]


def test_many_figures_become_several_charts():
    figures = {f"figure {i}": Bar(0.5, 0.4, 0.6) for i in range(20)}
    assert bars.charts("By category", [("one", figures)]).count("<figure") == 3
    assert bars.charts("By category", [("one", {})]) == ""


def test_the_seventh_run_is_paler_than_the_first():
    text = bars.charts("t", [(str(i), {"x": Bar(0.5, 0.4, 0.6)}) for i in range(7)])
    assert 'rect class="c0"' in text and 'rect class="c0 pale"' in text
