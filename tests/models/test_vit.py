"""The image encoder: the released numbers, and each image attends only to itself wherever it is packed."""

import jax
import numpy as np
import pytest

from irg_jax.models.attention.spans import Spans
from irg_jax.models.vae.latents import to_unit
from tests import released, tiny


@pytest.fixture(scope="module")
def released_patches():
    """Patches, positions and spans of the seven released samples."""
    vit = released.packed_batch()["vit"]
    return to_unit(vit["patches"]), vit["pos_id"], Spans(vit["position"], vit["start"], vit["end"])


def test_features_are_the_released_ones(released_patches):
    features = jax.jit(released.model().vit)(*released_patches)
    np.testing.assert_allclose(features[0], released.arrays("parts")["vit_features"], rtol=0, atol=2e-5)


def test_connected_features_are_the_released_ones(released_patches):
    features = jax.jit(released.model().vit_features)(*released_patches)[0]
    tables = released.arrays("parts")
    position = tables["vit_pos_embed"][released_patches[1][0]]  # the released features are without it
    np.testing.assert_allclose(features - position, tables["vit_connected"], rtol=0, atol=1.5e-5)


# --- packing


PATCHES = np.random.default_rng(0).uniform(-1, 1, (1, 12, 3 * 8 * 8)).astype(np.float32)
POS_ID = np.array([[0, 1, 4, 5, 0, 1, 2, 4, 5, 6, 8, 9]])


def spans(*lengths):
    ends = np.cumsum(lengths)
    bounds = (np.arange(sum(lengths)), np.repeat(ends - lengths, lengths), np.repeat(ends, lengths))
    return Spans(*(x[None].astype(np.int32) for x in bounds))


def test_a_packed_image_has_the_features_that_it_has_alone():
    features = jax.jit(tiny.model().vit_features)
    packed = features(PATCHES, POS_ID, spans(4, 8))
    for part, alone in ((slice(0, 4), spans(4)), (slice(4, 12), spans(8))):
        np.testing.assert_allclose(
            packed[:, part], features(PATCHES[:, part], POS_ID[:, part], alone), rtol=0, atol=1e-6
        )


def test_an_image_attends_to_all_of_itself_and_nothing_else():
    def feature(patches, i):
        return tiny.model().vit_features(patches, POS_ID, spans(4, 8))[0, i].sum()

    for i, seen in ((1, range(0, 4)), (9, range(4, 12))):
        has_gradient = np.abs(jax.jit(jax.grad(feature), static_argnums=1)(PATCHES, i)[0]).max(1) > 1e-7
        assert list(np.flatnonzero(has_gradient)) == list(seen)


def test_the_same_patch_at_another_position_has_other_features():
    features = jax.jit(tiny.model().vit_features)
    one = features(PATCHES[:, :1], np.array([[0]]), spans(1))
    assert np.abs(one - features(PATCHES[:, :1], np.array([[1]]), spans(1))).max() > 1e-3


def test_bfloat16_is_close():
    whole = jax.jit(tiny.model().vit_features)(PATCHES, POS_ID, spans(4, 8))
    half = jax.jit(tiny.model(dtype="bfloat16").vit_features)(PATCHES, POS_ID, spans(4, 8))
    assert half.dtype == "bfloat16"
    assert np.abs(half.astype(np.float32) - whole).mean() < 0.03 * np.abs(whole).mean()
