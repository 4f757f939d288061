"""The image encoder sees one picture at a time, wherever it is packed."""

import jax
import numpy as np
import pytest

from irg_jax.models.attention.spans import Spans
from irg_jax.models.autoencoder import to_unit
from tests import released, tiny


@pytest.fixture(scope="module")
def seven():
    """ViT stream of the seven released samples."""
    vit = released.packed_batch()["vit"]
    return to_unit(vit["patches"]), vit["place"], Spans(vit["position"], vit["start"], vit["end"])


def test_features_are_the_released_ones(seven):
    features = jax.jit(released.model().vit)(*seven)
    np.testing.assert_allclose(features[0], released.arrays("parts")["vit_features"], atol=2e-5)


def test_connected_features_are_the_released_ones(seven):
    features = jax.jit(released.model().vit_features)(*seven)[0]
    tables = released.arrays("parts")
    place = tables["vit_pos_embed"][seven[1][0]]  # the table holds what is added afterwards
    np.testing.assert_allclose(features - place, tables["vit_connected"], atol=2e-5)


# --- packing


PATCHES = np.random.default_rng(0).uniform(-1, 1, (1, 12, 3 * 8 * 8)).astype(np.float32)
PLACE = np.array([[0, 1, 4, 5, 0, 1, 2, 4, 5, 6, 8, 9]])


def spans(*lengths):
    ends = np.cumsum(lengths)
    bounds = (np.arange(sum(lengths)), np.repeat(ends - lengths, lengths), np.repeat(ends, lengths))
    return Spans(*(x[None].astype(np.int32) for x in bounds))


def test_an_image_alone_and_packed_has_the_same_features():
    features = jax.jit(tiny.model().vit_features)
    packed = features(PATCHES, PLACE, spans(4, 8))
    for part, alone in ((slice(0, 4), spans(4)), (slice(4, 12), spans(8))):
        np.testing.assert_allclose(packed[:, part], features(PATCHES[:, part], PLACE[:, part], alone), atol=1e-5)


def test_an_image_sees_all_of_itself_and_nothing_else():
    def feature(patches, i):
        return tiny.model().vit_features(patches, PLACE, spans(4, 8))[0, i].sum()

    for i, seen in ((1, range(0, 4)), (9, range(4, 12))):
        touched = np.abs(jax.jit(jax.grad(feature), static_argnums=1)(PATCHES, i)[0]).max(1) > 1e-7
        assert list(np.flatnonzero(touched)) == list(seen)


def test_the_same_patch_elsewhere_has_other_features():
    features = jax.jit(tiny.model().vit_features)
    one = features(PATCHES[:, :1], np.array([[0]]), spans(1))
    assert np.abs(one - features(PATCHES[:, :1], np.array([[1]]), spans(1))).max() > 1e-3


def test_bfloat16_is_close():
    whole = jax.jit(tiny.model().vit_features)(PATCHES, PLACE, spans(4, 8))
    half = jax.jit(tiny.model(dtype="bfloat16").vit_features)(PATCHES, PLACE, spans(4, 8))
    assert half.dtype == "bfloat16"
    assert np.abs(half.astype(np.float32) - whole).mean() < 0.03 * np.abs(whole).mean()
