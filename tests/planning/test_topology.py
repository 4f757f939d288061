"""How a topology is written, and which chips it has."""

import pytest

from irg_jax.core.chips import PlannedChip
from irg_jax.core.errors import UserError
from irg_jax.planning import topology as hardware


@pytest.mark.parametrize(("text", "slices", "chips"), [("v5p:4x4x4", 2, 128), ("v5e:16x16", 1, 256), ("h100:8", 4, 32)])
def test_a_topology_knows_its_number_of_chips(text, slices, chips):
    topology = hardware.parse(text, slices)
    assert topology.chips == chips
    assert str(topology) == (text if slices == 1 else f"{slices} x {text}")


@pytest.mark.parametrize("text", ["v5p-64", "v5p:4x4", "v9:2x2", "v5e:", "h100:2x4", ""])
def test_an_unknown_topology_is_refused_with_the_known_ones(text):
    with pytest.raises(
        UserError, match=r"is not a known topology; known are v5e:AxB, v6e:AxB, v5p:AxBxC .* and h100:8"
    ):
        hardware.parse(text)


def test_every_topology_has_the_figures_of_its_chip():
    for name, dimensions in hardware.DIMENSIONS.items():
        chip = hardware.parse(f"{name}:{'x'.join(['2'] * dimensions)}").chip
        assert isinstance(chip, PlannedChip) and chip.flops > 0
