"""Metrics: to the writers and the terminal, as means over the log interval; and steps that are not finite."""

import logging
from collections.abc import Callable

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.training.config import StageConfig
from irg_jax.training.loop import Hook, StepReport
from irg_jax.training.metrics import IntervalMean
from irg_jax.training.progress import Progress
from irg_jax.training.writers import Writer


class Log(Hook):
    """Writes the metrics of every interval, and a line to the terminal.

    Args:
      config: of the stage.
      modes: names of the learning modes.
      devices: of the mesh.
      progress: formats the line.
      writer: where metrics go; None on all processes but the primary one.
    """

    def __init__(
        self, config: StageConfig, modes: list[str], devices: int, progress: Progress, writer: Writer | None
    ) -> None:
        self._every, self._last = config.log.every, config.steps
        self._mean = IntervalMean(config, modes, devices)
        self._progress, self._writer = progress, writer

    def after_metrics(self, report: StepReport) -> None:
        """Adds the step to the interval, and writes the interval's means at its end."""
        self._mean.add(report.metrics, report.stall_seconds, report.seconds)
        if report.step % self._every and report.step != self._last:
            return
        row = self._mean.pop()
        if self._writer is not None:
            self._writer.write(report.step, row)
        logging.info(self._progress.line(report.step, row))

    def close(self) -> None:
        """Closes the writer."""
        if self._writer is not None:
            self._writer.close()


class StopOnNonFinite(Hook):
    """Ends a run whose loss or gradient is not finite, after as many skipped steps as the config allows.

    Args:
      allowed: number of steps that may be skipped; the step itself leaves the state unchanged then.
      keys_of: the records in the batch of a step.

    Raises:
      UserError: one step too many; it names the records.
    """

    def __init__(self, allowed: int, keys_of: Callable[[int], list[str]]) -> None:
        self._allowed, self._keys_of, self._skipped = allowed, keys_of, 0

    def after_metrics(self, report: StepReport) -> None:
        """Ends the run, or logs that the step was skipped."""
        values = report.metrics
        if np.isfinite(values["loss"] + values["grad_norm"]):
            return
        names = [name for name in ("loss", "ce", "mse", "grad_norm") if name in values]
        found = ", ".join(f"{name} {float(values[name])}" for name in names)
        records = f"records in the batch: {', '.join(self._keys_of(report.step))}"
        if self._skipped == self._allowed:
            raise UserError(
                f"step {report.step}: {found}; nothing was saved after the last checkpoint, and optim.skip_nonfinite "
                f"{self._allowed} allows no other; {records}"
            )
        self._skipped += 1
        logging.warning(
            "step %d is skipped (%d of %d): %s; %s", report.step, self._skipped, self._allowed, found, records
        )
