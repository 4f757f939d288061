"""The progress line of a training run."""

import collections
import time
from collections.abc import Callable, Mapping


def _duration(seconds: float) -> str:
    total = round(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """Formats the progress line of a training run."""

    def __init__(
        self,
        total_steps: int,
        *,
        label: str = "train",
        start_step: int = 0,
        later_steps: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
          total_steps: of the stage.
          label: first word of the line.
          start_step: the step that the run resumes from.
          later_steps: of the stages that come after this one, which count as long as its own.
          clock: monotonic, in seconds.
        """
        self._total, self._label, self._clock, self._later = total_steps, label, clock, later_steps
        # Only the latest lines count: the first step compiles, and its minutes say nothing about the steps to come.
        self._history: collections.deque[tuple[float, int]] = collections.deque([(clock(), start_step)], maxlen=16)

    def line(self, step: int, values: Mapping[str, float]) -> str:
        """The line for ``step``, of whichever of loss, ce, mse, tokens_per_s, time/data and time/compute are given."""
        parts = [self._label, f"{step}/{self._total}"]
        if "loss" in values:
            split = [f"{name} {values[name]:.3g}" for name in ("ce", "mse") if name in values]
            parts.append(f"loss {values['loss']:.4g}" + (f" ({' '.join(split)})" if split else ""))
        if "tokens_per_s" in values:
            parts.append(f"{values['tokens_per_s']:,.0f} tok/s")
        if "time/data" in values and "time/compute" in values:
            total = values["time/data"] + values["time/compute"]
            parts.append(f"data {100 * values['time/data'] / total if total else 0:.0f} %")
        self._history.append((self._clock(), step))
        (then, first), (now, _) = self._history[0], self._history[-1]
        if step > first:
            left = max(0, self._total - step) + self._later
            parts.append(f"ETA {_duration((now - then) / (step - first) * left)}")
        return "  ".join(parts)
