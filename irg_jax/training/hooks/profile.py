"""A trace of some steps for the profiler's viewers (XProf, TensorBoard, Perfetto), and a memory profile."""

import logging
from pathlib import Path

import jax

from irg_jax.core.errors import UserError
from irg_jax.sharding import processes
from irg_jax.training.loop import Hook, StepReport


def parse_window(text: str) -> range:
    """The steps of ``START:COUNT``. Raises UserError for anything else."""
    start, colon, count = text.partition(":")
    if not (colon and start.isdigit() and count.isdigit() and int(start) > 0 and int(count) > 0):
        raise UserError(f"--profile: {text!r} is not START:COUNT, such as 10:5 for steps 10 to 14")
    return range(int(start), int(start) + int(count))


class Profile(Hook):
    """Traces the steps of a window on every process; the last one waits until the devices are done.

    Args:
      steps: the window; of a run that resumes in its middle, the rest.
      folder: for the trace of this process, and for ``memory.prof`` after the window, of the primary process.
    """

    def __init__(self, steps: range, folder: Path) -> None:
        self._steps, self._folder = steps, folder
        self._tracing = False

    def before_step(self, step: int) -> None:
        """Starts the trace at the first step of the window."""
        if step in self._steps and not self._tracing:
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
            self._tracing = True

    def after_metrics(self, report: StepReport) -> None:
        """Ends the trace once the last step of the window is done."""
        if self._tracing and report.step >= self._steps[-1]:
            self._stop()
            if processes.is_primary():
                jax.profiler.save_device_memory_profile(str(self._folder / "memory.prof"))
            logging.info("profile of steps %d to %d: %s", self._steps[0], self._steps[-1], self._folder)

    def close(self) -> None:
        """Ends a trace that an error has cut short."""
        if self._tracing:
            self._stop()

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self._tracing = False
