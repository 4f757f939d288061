"""Guidance against its formulas in NumPy, for each image of a batch on its own."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError
from irg_jax.sampling.guidance import Guidance, guide

FULL, NO_TEXT, NO_IMAGE = np.random.default_rng(0).normal(size=(3, 2, 5, 4)).astype(np.float32)


def guidance(**changes) -> Guidance:
    values = dict(text_scale=4.0, image_scale=2.0, interval=(0.4, 1.0), renorm="global", renorm_min=0.0)
    return Guidance(**(values | changes))


def test_text_channel_renormalizes_each_token_before_the_image_term():
    a = NO_TEXT + 4.0 * (FULL - NO_TEXT)
    norm = lambda x: np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    b = a * np.clip(norm(FULL) / (norm(a) + 1e-8), 0.3, 1.0)
    expected = NO_IMAGE + 2.0 * (b - NO_IMAGE)
    v = guide(guidance(renorm="text_channel", renorm_min=0.3), FULL, NO_TEXT, NO_IMAGE)
    np.testing.assert_allclose(v, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("renorm", "axis"), [("global", (1, 2)), ("channel", (2,))])
def test_global_and_channel_renormalize_after_both_terms(renorm, axis):
    a = NO_TEXT + 4.0 * (FULL - NO_TEXT)
    unscaled = NO_IMAGE + 2.0 * (a - NO_IMAGE)
    norm = lambda x: np.sqrt((x * x).sum(axis, keepdims=True))  # noqa: E731
    expected = unscaled * np.clip(norm(FULL) / norm(unscaled), 0.0, 1.0)
    v = guide(guidance(renorm=renorm), FULL, NO_TEXT, NO_IMAGE)
    np.testing.assert_allclose(v, expected, rtol=0, atol=1e-6)


def test_guidance_of_an_image_does_not_depend_on_its_batch():
    for renorm in ("global", "channel", "text_channel"):
        g = guidance(renorm=renorm)
        alone = [guide(g, FULL[i : i + 1], NO_TEXT[i : i + 1], NO_IMAGE[i : i + 1]) for i in range(2)]
        np.testing.assert_allclose(jnp.concatenate(alone), guide(g, FULL, NO_TEXT, NO_IMAGE), rtol=3e-7)


def test_the_interval_excludes_its_low_end_and_scale_one_is_off():
    assert [guidance().active(t) for t in (0.4, 0.41, 1.0)] == [False, True, True]
    assert not guidance(text_scale=1.0, image_scale=1.0).active(0.8)
    np.testing.assert_array_equal(guide(guidance(text_scale=1.0, renorm="channel"), FULL, None, None), FULL)


def test_an_unknown_renorm_and_a_scale_below_one_raise():
    values = dataclasses.asdict(guidance())
    with pytest.raises(ConfigError, match="turn1.renorm: 'sum' is not one of global, channel, text_channel"):
        dataclass_from_mapping(Guidance, values | {"renorm": "sum"}, "sampling.turn1")
    with pytest.raises(ConfigError, match="text_scale: 0.5 must be at least 1"):
        guidance(text_scale=0.5)
    with pytest.raises(ConfigError, match="image_scale: 0.5 must be at least 1"):
        guidance(image_scale=0.5)
