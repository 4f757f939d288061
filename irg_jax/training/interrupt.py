"""Ctrl-C and SIGTERM: the run finishes its step, saves, and stops."""

import signal
from types import FrameType, TracebackType


class Interrupt:
    """While this context is open the first SIGINT or SIGTERM only sets ``asked``; a second one acts at once."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Interrupt":
        self._before = {s: signal.signal(s, self._ask) for s in self._SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        print("stopping: the step under way is finished and saved first; once more stops at once", flush=True)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
