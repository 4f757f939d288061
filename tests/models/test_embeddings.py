"""Fixed embeddings, against the tables of the released code."""

import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.models import embeddings
from tests import released


@pytest.fixture(scope="module")
def parts():
    return released.arrays("parts")


@pytest.mark.parametrize(("table", "side"), [("latent_pos_embed", 8), ("vit_pos_embed", 10)])
def test_position_embeddings_are_the_released_tables(parts, table, side):
    embedded = embeddings.position_2d(jnp.arange(side**2), side, 64)
    np.testing.assert_allclose(embedded, parts[table], rtol=0, atol=1e-6)


def test_the_half_of_the_column_comes_first_and_each_is_sin_then_cos():
    embedded = np.asarray(embeddings.position_2d(jnp.array(3 * 10 + 5), side=10, size=8))  # row 3, column 5
    wanted = [f(x * w) for x in (5, 3) for f in (np.sin, np.cos) for w in (1, 0.01)]
    np.testing.assert_allclose(embedded, wanted, rtol=0, atol=1e-7)


def test_timestep_features_are_cos_then_sin_of_the_unscaled_t():
    features = np.asarray(embeddings.timestep_features(jnp.array([0.0, 0.73]), 256))
    angles = 0.73 * 10000.0 ** (-np.arange(128) / 128)
    np.testing.assert_allclose(features[1], np.concatenate([np.cos(angles), np.sin(angles)]), rtol=0, atol=4e-7)
    np.testing.assert_array_equal(features[0], np.repeat([1, 0], 128))


def test_the_timestep_embedding_is_the_released_one(parts):
    embedded = released.model().time(jnp.array(parts["timestep"]), jnp.float32)
    np.testing.assert_allclose(embedded, parts["timestep_embedding"], rtol=0, atol=5e-6)


def test_rope_rotates_the_two_halves_of_a_head():
    x = np.random.default_rng(0).normal(size=(1, 3, 2, 8)).astype(np.float32)
    ids = np.array([[0, 5, 5]])
    rotated = np.asarray(embeddings.apply_rope(x, embeddings.rope_angles(ids, 8, 1e4)))
    np.testing.assert_array_equal(rotated[:, 0], x[:, 0])
    for i in range(4):
        z = (x[0, 1, :, i] + 1j * x[0, 1, :, i + 4]) * np.exp(5j * 1e4 ** (-i / 4))
        np.testing.assert_allclose(rotated[0, 1, :, i] + 1j * rotated[0, 1, :, i + 4], z, rtol=0, atol=7e-7)


def test_rope_scores_depend_on_distance_alone():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 1, 1, 1, 8)).astype(np.float32)

    def rotate(x, i):
        return embeddings.apply_rope(x, embeddings.rope_angles(np.array([[i]]), 8, 1e4))

    def score(i, j):
        return float((rotate(q, i) * rotate(k, j)).sum())

    assert score(7, 3) == pytest.approx(score(107, 103), abs=1e-6)


def test_rope_ids_beyond_the_integers_of_bfloat16_are_exact():
    """bfloat16 holds no odd integer above 256; ids of 32,768 tokens must not be cast to it."""
    x = jnp.ones((1, 2, 1, 8), jnp.bfloat16)
    ids = np.array([[30_000, 30_001]])
    rotated = embeddings.apply_rope(x, embeddings.rope_angles(ids, 8, 1e6)).astype(np.float32)
    assert np.abs(rotated[0, 0] - rotated[0, 1]).max() > 0.1
