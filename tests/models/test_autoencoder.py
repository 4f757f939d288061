"""Pixels to latents, latents to tokens, and back without loss."""

import numpy as np
import pytest

from irg_jax.models import autoencoder as ae
from irg_jax.models.autoencoder import PixelAutoencoder
from irg_jax.models.config import PixelConfig

CODER = PixelAutoencoder(PixelConfig(downsample=4, scale=2.0, shift=0.6))


def test_space_to_depth_is_inverted_exactly():
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 16, 24, 3)).astype(np.float32)
    latents = CODER.encode(pixels)
    assert latents.shape == (2, 4, 6, CODER.config.channels) == (2, 4, 6, 48)
    np.testing.assert_allclose(CODER.decode(latents), pixels, atol=1e-6)


def test_a_latent_is_its_own_square_of_pixels_scaled_and_shifted():
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    latents = np.asarray(CODER.encode(pixels))
    np.testing.assert_allclose(latents[0, 1, 0], 2.0 * (pixels[0, 4:8, 0:4].reshape(-1) - 0.6), atol=1e-6)


def test_every_byte_survives_the_whole_way():
    """Image 1 is quantised and encoded again in turn 2: not one level may shift."""
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(ae.to_bytes(CODER.decode(CODER.encode(ae.to_unit(levels)))), levels)


def test_bytes_are_clipped_and_cut_off():
    pixels = np.array([-9, -1, 0.9 / 127.5 - 1, 1.1 / 127.5 - 1, 1, 9])
    np.testing.assert_array_equal(ae.to_bytes(pixels), [0, 0, 0, 1, 255, 255])


@pytest.mark.parametrize("patch", [1, 2])
def test_tokens_are_patches_of_latents_and_back(patch):
    latents = np.random.default_rng(0).normal(size=(2, 4, 6, 16)).astype(np.float32)
    tokens = ae.to_tokens(latents, patch)
    assert tokens.shape == (2, 4 // patch, 6 // patch, patch * patch * 16)
    np.testing.assert_array_equal(tokens[1, 1, 2], latents[1, patch : 2 * patch, 2 * patch : 3 * patch].reshape(-1))
    np.testing.assert_array_equal(ae.from_tokens(tokens, patch), latents)
