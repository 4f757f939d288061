"""Sections of a config become dataclasses; keys that do not belong are named."""

import dataclasses

import pytest

from irg_jax.errors import UserError
from irg_jax.sections import build


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int


def test_a_section_has_exactly_the_fields():
    assert build(Point, {"x": 1, "y": 2}, "at") == Point(1, 2)
    with pytest.raises(UserError, match=r"at\.z: unknown key; at has x, y"):
        build(Point, {"x": 1, "y": 2, "z": 3}, "at")
    with pytest.raises(UserError, match=r"at\.y: missing key; at has x, y"):
        build(Point, {"x": 1}, "at")
