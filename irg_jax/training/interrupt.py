"""Ctrl-C, SIGTERM and a terminal that is closed: the run finishes its step, saves and stops."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_noticed = threading.Event()  # a Ctrl-C that may have come to nothing


@contextlib.contextmanager
def noticing_ctrl_c() -> Iterator[None]:
    """Before and between training loops, Ctrl-C raises KeyboardInterrupt as ever, but is not lost where that is.

    Python drops what is raised in callbacks, such as jax's of the garbage collector while it compiles. The next
    ``Interrupt`` has the request then.
    """
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not is_default:
        yield
        return

    def notice(number: int, frame: FrameType | None) -> None:
        _noticed.set()
        raise KeyboardInterrupt

    def hide(unraisable: Any) -> None:
        if not (isinstance(unraisable.exc_value, KeyboardInterrupt) and _noticed.is_set()):
            hook(unraisable)

    # It stays, for others may have put theirs above it.
    hook, sys.unraisablehook = sys.unraisablehook, hide
    signal.signal(signal.SIGINT, notice)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _noticed.clear()


class Interrupt:
    """While this context is open, the first signal only sets ``requested``; a second one stops at once.

    The signals are SIGINT, SIGTERM and SIGHUP, the last one unless it is ignored (``nohup``). Outside the main thread,
    where Python takes no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.requested = _noticed.is_set()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT, signal.SIGTERM]
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
                numbers.append(signal.SIGHUP)
            self._before = {number: signal.signal(number, self._request) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()
        # What a handler raises comes out of whatever the main thread is doing, and the terminal may be gone. Not print:
        # the signal may come while the main thread is inside a print.
        with contextlib.suppress(OSError):
            os.write(1, b"stopping after the current step is finished and saved; a second signal stops at once\n")

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # A handler that was not set by Python cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
