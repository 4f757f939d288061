"""Topologies: chips that train together, and how they are written."""

import dataclasses
import re

from irg_jax.core.chips import CHIPS, PlannedChip
from irg_jax.core.errors import UserError

# Kinds of chips, and the directions in which a slice of each extends.
DIMENSIONS = {"v5e": 2, "v6e": 2, "v5p": 3, "h100": 1}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Chips that train together.

    Attributes:
      name: of the chip, a key of ``DIMENSIONS``.
      shape: chips along each direction of a slice; one number for a GPU node.
      slices: slices or nodes, joined by the network.
    """

    name: str
    shape: tuple[int, ...]
    slices: int

    @property
    def chip(self) -> PlannedChip:
        """What each chip can do."""
        chip = CHIPS[self.name]
        assert isinstance(chip, PlannedChip)
        return chip

    @property
    def chips(self) -> int:
        """Number of chips in all slices."""
        count = self.slices
        for size in self.shape:
            count *= size
        return count

    @property
    def compiles(self) -> bool:
        """Whether XLA can compile for these chips on a machine that has none."""
        return self.name != "h100"

    def __str__(self) -> str:
        shape = f"{self.name}:{'x'.join(map(str, self.shape))}"
        return shape if self.slices == 1 else f"{self.slices} x {shape}"


def parse(text: str, slices: int = 1) -> Topology:
    """Reads ``v5p:4x4x4`` (chips along each direction) or ``h100:8``.

    Raises:
      UserError: an unknown chip or shape; the known ones are listed.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+)*)", text)
    if not match or match[2].count("x") + 1 != DIMENSIONS.get(match[1]):
        raise UserError(
            f"--topology: {text!r} is not a known topology; known are v5e:AxB, v6e:AxB, v5p:AxBxC (chips along each "
            "direction, such as v5e:16x16, v6e:8x8, v5p:4x4x4) and h100:8"
        )
    return Topology(match[1], tuple(int(size) for size in match[2].split("x")), slices)
