"""Wall-clock time of compiled functions."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax


def seconds(f: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Seconds of the first call, which compiles, and the median of ``repeats`` more calls."""
    times = []
    for _ in range(1 + repeats):
        start = time.monotonic()
        jax.block_until_ready(f())
        times.append(time.monotonic() - start)
    return times[0], statistics.median(times[1:])
