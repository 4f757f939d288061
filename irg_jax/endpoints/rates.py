"""How long an endpoint asks to wait, and a pause that all threads of a client keep."""

import email.utils
import random
import re
import threading
import time
from collections.abc import Mapping

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
LONGEST_BACK_OFF = 60.0


def seconds(text: str) -> float | None:
    """A wait as endpoints write it: ``20``, ``1.5``, ``120ms``, ``6m0s``, ``1h2m3s``; None for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        return None
    hours, minutes, whole, thousandths = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + whole + thousandths / 1000


def requested_wait(headers: Mapping[str, str], refused: bool) -> float:
    """The seconds that the headers of an answer ask to wait before the next request; 0 if they ask for none.

    ``Retry-After`` (seconds or a date) counts, then ``retry-after-ms``; without either the resets of the rate limits
    that nothing is left of, and where the request was refused but none is used up, the longest reset.

    Args:
      headers: of the answer, names in any case if the mapping allows it, else in lower case.
      refused: whether the answer is a refusal for its rate (429, 503).
    """
    told = _retry_after(headers.get("retry-after", ""))
    if told is None and (milliseconds := seconds(headers.get("retry-after-ms", ""))) is not None:
        told = milliseconds / 1000
    if told is not None:
        return told
    resets, used_up = [0.0], [0.0]
    for kind in ("requests", "tokens"):
        reset = seconds(headers.get(f"x-ratelimit-reset-{kind}", ""))
        if reset is not None:
            resets.append(reset)
            if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0":
                used_up.append(reset)
    return max(used_up) if max(used_up) or not refused else max(resets)


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubled each time, at most a minute, spread at random."""
    return min(2.0 ** (failures - 1), LONGEST_BACK_OFF) * random.uniform(0.5, 1.0)


class Pause:
    """A time before which no thread of a client sends anything."""

    def __init__(self, stop: threading.Event):
        self._stop, self._until, self._lock = stop, 0.0, threading.Lock()

    def extend(self, wait: float) -> None:
        """Sends nothing for so many seconds from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + wait)

    def wait(self) -> None:
        """Returns when it is over, or at once where everything stops."""
        while (left := self._until - time.monotonic()) > 0 and not self._stop.wait(left):
            pass


def _retry_after(text: str) -> float | None:
    if not text.strip():
        return None
    if (wait := seconds(text)) is not None:
        return wait
    try:
        date = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(date.timestamp() - time.time(), 0.0)
