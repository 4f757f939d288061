"""What has been measured of a checkpoint so far, from the file of a measurement."""

import json
from typing import NamedTuple

from irg_jax.core.small_files import read_text
from irg_jax.core.storage import AnyPath


class Measured(NamedTuple):
    """The step of a checkpoint, and the number of records or samples on which it was asked for."""

    step: int
    asked: int


def read_measured(path: AnyPath) -> Measured | None:
    """What the file says; None where there is none, or where it is broken."""
    try:
        values = json.loads(read_text(path))
        return Measured(values["step"], values["asked"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
