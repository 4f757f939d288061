"""The table: every published key has one row, every weight of ours is filled, the fixed tables match their formula."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.checkpoints.bagel import names
from irg_jax.models import embeddings
from tests import released
from tests.checkpoints.bagel import folders


def test_every_published_key_matches_exactly_one_row():
    patterns = [re.escape(row.published).replace(r"\{layer\}", r"\d+") for row in names.TABLE]
    patterns += map(re.escape, names.fixed_tables(released.config()))
    for key in folders.tensors():
        assert sum(bool(re.fullmatch(pattern, key)) for pattern in patterns) == 1, key


def test_the_published_weights_are_those_of_the_table_with_their_shapes():
    shapes = {key: slot.shape for key, slot in names.slots(released.config()).items()}
    tables = names.fixed_tables(released.config())
    assert shapes == {key: value.shape for key, value in folders.tensors().items() if key not in tables}


def test_every_layer_of_every_weight_is_filled_exactly_once():
    slots = names.slots(released.config()).values()
    filled = [(slot.row.ours, slot.layer) for slot in slots]
    assert len(set(filled)) == len(filled)
    for name, shape in names.shapes(released.config()).items():
        layers = [layer for ours, layer in filled if ours == name]
        assert layers == (list(range(shape[0])) if names.ROWS[name].stacked else [None])


def test_a_fixed_table_has_exactly_the_published_bits():
    for key, (side, size) in names.fixed_tables(released.config()).items():
        np.testing.assert_array_equal(names.fixed_table(side, size), folders.tensors()[key])


@pytest.mark.parametrize("side, size", [(64, 3584), (70, 3584)])
def test_a_fixed_table_is_the_position_embedding_of_the_model(side, size):
    position = np.random.default_rng(0).integers(0, side * side, 50)
    ours = embeddings.position_2d(jnp.array(position), side, size)
    np.testing.assert_allclose(names.fixed_table(side, size)[position], ours, atol=1e-5)
