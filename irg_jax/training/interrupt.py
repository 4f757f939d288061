"""Ctrl-C and SIGTERM: the run finishes its step, saves and stops."""

import os
import signal
from types import FrameType, TracebackType


class Interrupt:
    """While this context is open, the first SIGINT or SIGTERM only sets ``requested``; a second one stops at once."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> "Interrupt":
        self._before = {s: signal.signal(s, self._request) for s in self._SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        # Not print: the signal may come while the main thread is inside a print.
        os.write(1, b"stopping after the current step is finished and saved; a second signal stops at once\n")
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
