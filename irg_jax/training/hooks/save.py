"""Checkpoints: every so many steps and minutes, and where training stops."""

import time
from collections.abc import Callable

from irg_jax.sharding import processes
from irg_jax.training.config import CheckpointConfig
from irg_jax.training.loop import Hook
from irg_jax.training.state import TrainState


class Save(Hook):
    """Saves the state at every due step, when its minutes are over, and where training stops.

    Args:
      config: when.
      last_step: which is saved too.
      save: called with the step and the state.
      clock: in seconds, for the minutes between checkpoints; only the primary process's counts.
    """

    answers_requests = True

    def __init__(
        self,
        config: CheckpointConfig,
        last_step: int,
        save: Callable[[int, TrainState], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._last_step, self._save, self._clock = config, last_step, save, clock
        self._saved_at = clock()

    def requests_state(self) -> bool:
        """Whether the last checkpoint is older than the config's minutes."""
        overdue = self._clock() - self._saved_at >= 60 * self._config.minutes
        return bool(self._config.minutes) and processes.is_primary() and overdue

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint of this step is due by its number."""
        return step % self._config.every == 0 or step == self._last_step

    def at_state(self, step: int, state: TrainState) -> None:
        """Saves."""
        self._save(step, state)
        self._saved_at = self._clock()
