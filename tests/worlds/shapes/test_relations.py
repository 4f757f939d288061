"""GenEval's rule for where a box is relative to another."""

import pytest

from irg_jax.worlds.shapes.relations import relative_position


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (20, 0, 30, 10), {"left of"}),
        ((20, 0, 30, 10), (0, 0, 10, 10), {"right of"}),
        ((0, 20, 10, 30), (0, 0, 10, 10), {"below"}),
        ((0, 0, 10, 10), (20, 20, 30, 30), {"left of", "above"}),
        ((0, 0, 10, 10), (2, 0, 12, 10), set()),  # within the tolerance of 0.1 * (10 + 10)
        ((0, 0, 10, 10), (0, 0, 10, 10), set()),
    ],
)
def test_relative_position_follows_genevals_rule(a, b, expected):
    assert relative_position(a, b) == expected
