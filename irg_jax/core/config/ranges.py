"""Bounds of the numbers of a config section, for its ``__post_init__``."""

import math
from typing import Any

from irg_jax.core.errors import check


def at_least(section: Any, minimum: float, *names: str) -> None:
    """Raises a ConfigError unless these fields are finite and at least ``minimum``."""
    for name in names:
        value = getattr(section, name)
        check(minimum <= value < math.inf, name, f"{value} must be at least {minimum}")


def above(section: Any, bound: float, *names: str) -> None:
    """Raises a ConfigError unless these fields are finite and above ``bound``."""
    for name in names:
        value = getattr(section, name)
        check(bound < value < math.inf, name, f"{value} must be above {bound}")


def within(section: Any, low: float, high: float, *names: str) -> None:
    """Raises a ConfigError unless these fields are from ``low`` to ``high``."""
    for name in names:
        value = getattr(section, name)
        check(low <= value <= high, name, f"{value} must be from {low} to {high}")
