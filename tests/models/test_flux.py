"""The FLUX VAE gives the released numbers, and each picture of a padded array what it would get alone."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from irg_jax.bagel import autoencoder as bagel
from irg_jax.models import flux
from irg_jax.models.flux import FluxAutoencoder
from tests import released

CONFIG = released.config().autoencoder
# The autoencoder is an argument: modules are pytrees.
ENCODE = jax.jit(lambda vae, pixels, sizes=None, noise=None: vae.encode(pixels, sizes, noise))
POSTERIOR = jax.jit(lambda vae, pixels: vae.posterior(pixels))
DECODE = jax.jit(lambda vae, latents: vae.decode(latents))


@pytest.fixture(scope="module")
def vae():
    return bagel.read(released.FOLDER / "bagel" / "ae.safetensors", CONFIG)


def released_array(file, name):
    """Channels last."""
    return released.arrays(file)[name].transpose(0, 2, 3, 1)


# --- the released numbers


def test_latents_are_the_scaled_posterior_mean(vae):
    latents = ENCODE(vae, released_array("parts", "vae_image"))
    np.testing.assert_allclose(latents, released_array("parts", "vae_latent_mean_scaled"), rtol=0, atol=2e-5)


def test_decoded_pixels(vae):
    """What was decoded is the scaled mean."""
    pixels = DECODE(vae, released_array("parts", "vae_latent_mean_scaled"))
    np.testing.assert_allclose(pixels, released_array("parts", "vae_decoded"), rtol=0, atol=3e-5)


def test_posterior_of_the_padded_array(vae):
    mean, std = POSTERIOR(vae, released_array("packed_batch", "padded_images"))
    np.testing.assert_allclose(mean, released_array("train_forward", "vae_posterior_mean"), rtol=0, atol=4e-5)
    log_variance = released_array("train_forward", "vae_posterior_logvar")
    np.testing.assert_allclose(2 * np.log(std), log_variance, rtol=0, atol=4e-5)


def test_a_sample_of_the_posterior(vae):
    noise = released_array("train_forward", "vae_posterior_noise")
    latents = ENCODE(vae, released_array("packed_batch", "padded_images"), None, noise)
    np.testing.assert_allclose(latents, released_array("train_forward", "padded_latent"), rtol=0, atol=4e-5)


def test_bfloat16_is_close(vae):
    """Measured: 1.8 % of the mean magnitude for latents, 2.3 % for pixels; at most 0.03 and 0.09."""
    image, latents, decoded = (
        released_array("parts", f"vae_{x}") for x in ("image", "latent_mean_scaled", "decoded")
    )  # fmt: skip
    for f, given, whole, largest in ((ENCODE, image, latents, 0.06), (DECODE, latents, decoded, 0.18)):
        half = f(vae, jnp.asarray(given, jnp.bfloat16))
        assert half.dtype == "bfloat16"
        error = np.abs(half.astype(np.float32) - whole)
        assert error.mean() < 0.03 * np.abs(whole).mean() and error.max() < largest


# --- pictures of several sizes


SIZES = np.array([(64, 48), (16, 32), (40, 64), (64, 64), (8, 8)], np.int32)


@pytest.fixture(scope="module")
def padded():
    """Pictures of ``SIZES`` at the top left of one array each; the rest is rubbish that must not be seen."""
    pixels = np.full((len(SIZES), 64, 64, 3), np.nan, np.float32)
    for i, (height, width) in enumerate(SIZES):
        pixels[i, :height, :width] = np.random.default_rng(i).uniform(-1, 1, (height, width, 3))
    return pixels


def test_a_padded_picture_has_the_latents_that_it_has_alone(vae, padded):
    noise = np.random.default_rng(9).normal(size=(len(SIZES), 8, 8, 16)).astype(np.float32)
    together = ENCODE(vae, padded, SIZES, noise)
    for i, (height, width) in enumerate(SIZES):
        inside = np.s_[i : i + 1, : height // 8, : width // 8]
        alone = ENCODE(vae, padded[i : i + 1, :height, :width], None, noise[inside])
        np.testing.assert_allclose(together[inside], alone, rtol=0, atol=1e-5)


def test_without_sizes_padding_is_part_of_the_picture(vae, padded):
    """As in the released code, whose latents therefore depend on what a picture is padded to."""
    padded = np.nan_to_num(padded)
    leaked = np.abs(ENCODE(vae, padded) - ENCODE(vae, padded, SIZES))
    assert leaked[3].max() < 1e-5  # fills its array
    assert leaked[1, :2, :4].max() > 0.05


def test_a_slot_without_a_picture_is_finite(vae, padded):
    latents = ENCODE(vae, np.zeros_like(padded), np.zeros_like(SIZES))
    assert np.isfinite(latents).all()


# --- parts


@pytest.mark.parametrize("size", [None, (31, 17)])
def test_attention_in_pieces_is_attention(size):
    """Forty rows of 20 queries are more than one piece, and the last piece is a shorter one."""
    assert flux.QUERIES < 40 * 20 and 40 % (flux.QUERIES // 20)
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, 40, 20, 8)).astype(np.float32)
    inside = np.zeros((1, 40, 20, 1), bool)
    inside[:, slice(size and size[0]), slice(size and size[1])] = True
    seen = inside.reshape(-1)
    scores = q.reshape(-1, 8) @ k.reshape(-1, 8)[seen].T / np.sqrt(8)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    attended = jax.jit(flux.attention)(q, k, v, None if size is None else inside)
    np.testing.assert_allclose(attended.reshape(-1, 8), weights @ v.reshape(-1, 8)[seen], atol=1e-5)


def test_attention_of_a_large_picture_never_holds_all_scores():
    places = jax.ShapeDtypeStruct((1, 128, 128, 512), jnp.bfloat16)
    program = str(jax.make_jaxpr(lambda q, k, v: flux.attention(q, k, v, None))(places, places, places))
    sizes = [math.prod(map(int, shape.split(","))) for shape in re.findall(r"\[([\d,]+)\]", program)]
    assert max(sizes) == flux.QUERIES * 128**2


def test_weights_are_arguments(vae):
    """With every weight zero the posterior mean is zero, whatever was compiled before."""
    latents = ENCODE(jax.tree.map(jnp.zeros_like, vae), released_array("parts", "vae_image"))
    np.testing.assert_allclose(latents, -CONFIG.scale * CONFIG.shift, rtol=1e-6)


def test_the_published_size():
    def conv(n_in, n_out, window=9):
        return window * n_in * n_out + n_out

    def block(n_in, n_out):
        shortcut = conv(n_in, n_out, 1) if n_in != n_out else 0
        return 2 * n_in + conv(n_in, n_out) + 2 * n_out + conv(n_out, n_out) + shortcut

    middle = 2 * block(512, 512) + 2 * 512 + 4 * conv(512, 512, 1)
    encoder = conv(3, 128) + 2 * block(128, 128) + conv(128, 128)
    encoder += block(128, 256) + block(256, 256) + conv(256, 256)
    encoder += block(256, 512) + block(512, 512) + conv(512, 512) + 2 * block(512, 512)
    encoder += middle + 2 * 512 + conv(512, 2 * 16)
    decoder = conv(16, 512) + middle + 3 * block(512, 512) + conv(512, 512) + 3 * block(512, 512) + conv(512, 512)
    decoder += block(512, 256) + 2 * block(256, 256) + conv(256, 256)
    decoder += block(256, 128) + 2 * block(128, 128) + 2 * 128 + conv(128, 3)

    published = nnx.eval_shape(lambda: FluxAutoencoder(bagel.PUBLISHED, rngs=nnx.Rngs(params=0)))
    counts = [sum(x.size for x in jax.tree.leaves(part)) for part in (published.encoder, published.decoder)]
    assert counts == [encoder, decoder] == [34_274_208, 49_545_475]
    assert sum(counts) == 83_819_683
    assert {x.dtype for x in jax.tree.leaves(published)} == {jnp.dtype("float32")}
