"""The budget: what a request may cost at most is set aside before it is sent."""

import threading

from irg_jax.core.errors import UserError

_ROUNDING = 1e-9


class BudgetError(UserError):
    """The next request could exceed the budget."""


class Stopped(Exception):
    """Everything stops, for a reason that another thread has."""


class Ledger:
    """Money spent and set aside, shared by all threads.

    Args:
      budget: that is never exceeded, as long as no answer costs more than was set aside for it.
      spent: by earlier runs.
      stop: wakes up those that wait.
    """

    def __init__(self, budget: float, spent: float, stop: threading.Event):
        self.budget, self.spent, self.reserved = budget, spent, 0.0
        self._stop, self._changed = stop, threading.Condition()

    def reserve(self, amount: float) -> None:
        """Sets an amount aside. Waits while requests that are under way may turn out cheaper.

        Raises:
          BudgetError: it does not fit, and nothing is under way.
          Stopped: everything stops.
        """
        with self._changed:
            while self.spent + self.reserved + amount > self.budget + _ROUNDING:
                if self._stop.is_set():
                    raise Stopped
                if self.reserved <= _ROUNDING:
                    raise BudgetError(
                        f"config.budget: {self.spent:.4f} of {self.budget:.4f} is spent and the next request may cost "
                        f"{amount:.4f}; start again with a higher budget, nothing is paid for twice"
                    )
                self._changed.wait(timeout=0.5)
            self.reserved += amount

    def settle(self, reserved: float, cost: float) -> None:
        """Puts what was set aside back, and takes what it did cost."""
        with self._changed:
            self.reserved = max(self.reserved - reserved, 0.0)
            self.spent += cost
            self._changed.notify_all()
