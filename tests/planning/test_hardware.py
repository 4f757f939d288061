"""How a topology is written."""

import pytest

from irg_jax.errors import UserError
from irg_jax.planning import hardware
from irg_jax.training.metrics import peak_flops


@pytest.mark.parametrize(("text", "slices", "chips"), [("v5p:4x4x4", 2, 128), ("v5e:16x16", 1, 256), ("h100:8", 4, 32)])
def test_chips_are_counted(text, slices, chips):
    topology = hardware.parse(text, slices)
    assert topology.chips == chips
    assert str(topology) == (text if slices == 1 else f"{slices} x {text}")


@pytest.mark.parametrize("text", ["v5p-64", "v5p:4x4", "v9:2x2", "v5e:", "h100:2x4", ""])
def test_an_unknown_one_is_refused_with_those_that_are_known(text):
    with pytest.raises(UserError, match=r"is none; known are v5e:AxB, v6e:AxB, v5p:AxBxC .* and h100:8"):
        hardware.parse(text)


def test_peaks_are_those_of_the_metrics():
    for chip in hardware.CHIPS.values():
        assert peak_flops(chip.kind) == chip.flops
