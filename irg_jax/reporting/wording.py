"""Figures and names as they are written on a page."""

import math
import os
import statistics
from collections.abc import Mapping
from typing import Any

from irg_jax.core.storage import AnyPath
from irg_jax.reporting import curves
from irg_jax.reporting.load import Stage


def folder_name(path: AnyPath) -> str:
    """The name of a run's folder, as text even where its bytes are not UTF-8."""
    return os.fsencode(path.resolve().name).decode("utf-8", "replace")


def duration(seconds: float) -> str:
    """Seconds in words, such as ``2 min 5 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"


def count_of(share: Mapping[str, Any]) -> str:
    """A share of scores.json as ``3 of 4``."""
    return f"{share['correct']} of {share['count']}"


def percent(share: float) -> str:
    """A share as ``75.0 %``."""
    return f"{100 * share:.1f} %"


def signed_interval(difference: Mapping[str, float]) -> str:
    """A difference of shares in percentage points with its interval: ``+5.2 [+1.0, +9.4]``."""
    value, low, high = (f"{100 * difference[key]:+.1f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def last_value(stage: Stage, column: str) -> list[float]:
    """The smoothed end of a curve, in a list that is empty where the stage has no such column."""
    # Few enough points that a NaN near the end shows, and one long ago does not.
    return [value for _, value in curves.smooth(stage.series(column)[-40:])][-1:]


def median_value(stage: Stage, column: str) -> list[float]:
    """The median of the finite values of a curve, in a list that is empty where there are none."""
    values = [value for _, value in stage.series(column) if math.isfinite(value)]
    return [statistics.median(values)] if values else []
