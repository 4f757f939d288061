"""What Orbax and TensorStore say that nobody needs to read."""

import logging
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from irg_jax.core.storage import is_storage_error

_HARMLESS_WARNINGS = (
    "Given directory is read only",  # as requested
    "Requested `tracked_metric`; did not provide metrics",  # a step without validation is not the best
    "No jax.Array in TypeHandlerRegistry",  # ``bagel.orbax_item`` writes arrays that are not jax.Arrays
)


def filter_orbax_logs() -> None:
    """Hides Orbax's progress and the tracebacks of errors that are also raised. Its other warnings are shown."""
    for logger, keep in (("absl", _keep_absl), ("asyncio", _keep_asyncio)):
        # Adding the same function again changes nothing.
        logging.getLogger(logger).addFilter(keep)
    if not isinstance(sys.unraisablehook, _HideLateAnswers):
        sys.unraisablehook = _HideLateAnswers(sys.unraisablehook)


class _HideLateAnswers:
    """Hides what TensorStore says of every array that is still written when another one has failed."""

    def __init__(self, hook: Callable[[Any], object]) -> None:
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self._hook(unraisable)


def _keep_absl(record: logging.LogRecord) -> bool:
    if "orbax" not in pathlib.Path(record.pathname).parts:
        return True
    shown = record.levelno >= logging.WARNING and not record.exc_info
    return shown and not record.getMessage().startswith(_HARMLESS_WARNINGS)


def _keep_asyncio(record: logging.LogRecord) -> bool:
    """Of several files that cannot be read or written Orbax raises the first error; the others are said at exit."""
    error = record.exc_info[1] if record.exc_info else None
    return not (error is not None and (is_storage_error(error) or "OCDBT" in str(error)))
