"""The pixel VAE: pixels to latents, latents to tokens, and back without loss."""

import numpy as np
import pytest

from irg_jax.models.config import PixelVAEConfig
from irg_jax.models.vae.latents import patchify, to_bytes, to_unit, unpatchify
from irg_jax.models.vae.pixel import PixelVAE

VAE = PixelVAE(PixelVAEConfig(downsample=4, scale=2.0, shift=0.6))


def test_decode_inverts_encode():
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 16, 24, 3)).astype(np.float32)
    latents = VAE.encode(pixels)
    assert latents.shape == (2, 4, 6, VAE.config.channels) == (2, 4, 6, 48)
    np.testing.assert_allclose(VAE.decode(latents), pixels, rtol=0, atol=5e-7)


def test_a_latent_is_its_square_of_pixels_scaled_and_shifted():
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
    latents = np.asarray(VAE.encode(pixels))
    np.testing.assert_allclose(latents[0, 1, 0], 2.0 * (pixels[0, 4:8, 0:4].reshape(-1) - 0.6), rtol=0, atol=5e-7)


def test_bytes_lose_at_most_one_level_in_encoding_and_decoding():
    """Pixels are rounded down, so that a rounding error below a level costs it."""
    levels = np.arange(256).repeat(3).reshape(1, 16, 16, 3)
    lost = levels - np.asarray(to_bytes(VAE.decode(VAE.encode(to_unit(levels.astype(np.uint8)))))).astype(int)
    assert set(np.unique(lost)) <= {0, 1}


def test_pixels_are_clipped_and_rounded_down():
    pixels = np.array([-9, -1, 0.9 / 127.5 - 1, 1.1 / 127.5 - 1, 1, 9], np.float32)
    np.testing.assert_array_equal(to_bytes(pixels), [0, 0, 0, 1, 255, 255])


def test_nothing_is_added_before_pixels_are_rounded_down():
    """Even the float32 just below a level is below it."""
    levels = np.arange(1, 256, dtype=np.float32) / 127.5 - 1
    below = np.asarray(to_bytes(levels - np.float32(2e-6))).astype(int)
    np.testing.assert_array_equal(below, np.arange(255))


@pytest.mark.parametrize("patch", [1, 2])
def test_unpatchify_inverts_patchify(patch):
    latents = np.random.default_rng(0).normal(size=(2, 4, 6, 16)).astype(np.float32)
    tokens = patchify(latents, patch)
    assert tokens.shape == (2, 4 // patch, 6 // patch, patch * patch * 16)
    np.testing.assert_array_equal(tokens[1, 1, 2], latents[1, patch : 2 * patch, 2 * patch : 3 * patch].reshape(-1))
    np.testing.assert_array_equal(unpatchify(tokens, patch), latents)
