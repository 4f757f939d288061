"""Scaling by formula: possible meshes, and the two shapes of the curves."""

import math

import pytest

from irg_jax.planning import scaling
from irg_jax.planning.estimate import Load
from tests import tiny

COUNTS = (8, 64, 512, 4096)


@pytest.mark.parametrize("chips", COUNTS)
def test_meshes_use_all_chips_and_divide_the_weights(chips):
    weak, strong = scaling.weak(chips), scaling.strong(chips, rows=8)
    for axes in (weak, strong):
        assert math.prod(axes.values()) == chips
        assert 3584 % (axes["fsdp"] * axes["context"]) == 0 and 4 % axes["tensor"] == 0
    assert weak["data"] * weak["fsdp"] == chips
    assert 8 % (strong["data"] * strong["fsdp"]) == 0


def test_a_step_takes_as_long_with_one_row_per_chip_and_less_with_the_same_rows():
    load = Load(rows=8, und=8e5, gen=8e5, vit=4e5, pairs=1e10, images=12, image_flops=1e9)
    rows = list(scaling.table(tiny.CONFIG, tiny.EXECUTION, 1e6, load, "v5p", 12, COUNTS))
    weak, strong = ([row["step seconds"] for row in rows if row["scaling"] == name] for name in ("weak", "strong"))
    assert weak[0] == strong[0]
    assert max(weak) < 1.3 * min(weak)
    assert strong[1] < strong[0] / 5 and strong[-1] < strong[0] / 20
