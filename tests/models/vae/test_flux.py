"""The FLUX VAE: the released numbers, and padding does not change an image's latents."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from irg_jax.checkpoints.bagel import vae as bagel
from irg_jax.models.vae import flux
from irg_jax.models.vae.flux import FluxVAE
from tests import released

CONFIG = released.config().vae
# The VAE is an argument of the jitted functions: modules are pytrees.
ENCODE = jax.jit(lambda vae, pixels, sizes=None, noise=None: vae.encode(pixels, sizes, noise))
MOMENTS = jax.jit(lambda vae, pixels: vae.moments(pixels))
DECODE = jax.jit(lambda vae, latents: vae.decode(latents))


@pytest.fixture(scope="module")
def vae():
    return bagel.read(released.FOLDER / "bagel" / "ae.safetensors", CONFIG)


def released_array(file, name):
    """A released array, channels last."""
    return released.arrays(file)[name].transpose(0, 2, 3, 1)


# --- the released numbers


def test_latents_are_the_scaled_posterior_mean(vae):
    latents = ENCODE(vae, released_array("parts", "vae_image"))
    np.testing.assert_allclose(latents, released_array("parts", "vae_latent_mean_scaled"), rtol=0, atol=2e-5)


def test_decoded_pixels_are_the_released_ones(vae):
    """The released code decoded the scaled mean."""
    pixels = DECODE(vae, released_array("parts", "vae_latent_mean_scaled"))
    np.testing.assert_allclose(pixels, released_array("parts", "vae_decoded"), rtol=0, atol=3e-5)


def test_the_posterior_of_a_padded_array_is_the_released_one(vae):
    mean, log_variance = np.split(MOMENTS(vae, released_array("packed_batch", "padded_images")), 2, axis=-1)
    np.testing.assert_allclose(mean, released_array("train_forward", "vae_posterior_mean"), rtol=0, atol=4e-5)
    wanted = released_array("train_forward", "vae_posterior_logvar")
    np.testing.assert_allclose(log_variance, wanted, rtol=0, atol=4e-5)


def test_a_sample_of_the_posterior_is_the_released_one(vae):
    noise = released_array("train_forward", "vae_posterior_noise")
    latents = ENCODE(vae, released_array("packed_batch", "padded_images"), None, noise)
    np.testing.assert_allclose(latents, released_array("train_forward", "padded_latent"), rtol=0, atol=4e-5)


def test_bfloat16_is_close(vae):
    """Measured: 1.8 % of the mean magnitude for latents, 2.3 % for pixels; at most 0.03 and 0.09."""
    image, latents, decoded = (
        released_array("parts", f"vae_{x}") for x in ("image", "latent_mean_scaled", "decoded")
    )  # fmt: skip
    for f, inputs, whole, largest in ((ENCODE, image, latents, 0.06), (DECODE, latents, decoded, 0.18)):
        half = f(vae, jnp.asarray(inputs, jnp.bfloat16))
        assert half.dtype == "bfloat16"
        error = np.abs(half.astype(np.float32) - whole)
        assert error.mean() < 0.03 * np.abs(whole).mean() and error.max() < largest


# --- images of several sizes


SIZES = np.array([(64, 48), (16, 32), (40, 64), (64, 64), (8, 8)], np.int32)


@pytest.fixture(scope="module")
def padded():
    """Images of ``SIZES``, each at the top left of its array; the padding is NaN, which must not reach the latents."""
    pixels = np.full((len(SIZES), 64, 64, 3), np.nan, np.float32)
    for i, (height, width) in enumerate(SIZES):
        pixels[i, :height, :width] = np.random.default_rng(i).uniform(-1, 1, (height, width, 3))
    return pixels


def test_a_padded_image_has_the_latents_that_it_has_alone(vae, padded):
    noise = np.random.default_rng(9).normal(size=(len(SIZES), 8, 8, 16)).astype(np.float32)
    together = ENCODE(vae, padded, SIZES, noise)
    for i, (height, width) in enumerate(SIZES):
        used = np.s_[i : i + 1, : height // 8, : width // 8]
        alone = ENCODE(vae, padded[i : i + 1, :height, :width], None, noise[used])
        np.testing.assert_allclose(together[used], alone, rtol=0, atol=1e-5)


def test_without_sizes_padding_is_part_of_the_image(vae, padded):
    """As in the released code, where latents depend on the padded size of an image."""
    padded = np.nan_to_num(padded)
    difference = np.abs(ENCODE(vae, padded) - ENCODE(vae, padded, SIZES))
    assert difference[3].max() < 1e-5  # fills its array
    assert difference[1, :2, :4].max() > 0.05


def test_a_slot_without_an_image_has_finite_latents(vae, padded):
    latents = ENCODE(vae, np.zeros_like(padded), np.zeros_like(SIZES))
    assert np.isfinite(latents).all()


# --- parts


@pytest.mark.parametrize("size", [None, (31, 17)])
def test_chunked_attention_equals_attention(size):
    """Forty rows of 20 queries are more than one chunk, and the last chunk is shorter."""
    assert flux.QUERY_CHUNK < 40 * 20 and 40 % (flux.QUERY_CHUNK // 20)
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, 40, 20, 8)).astype(np.float32)
    valid = np.zeros((1, 40, 20, 1), bool)
    valid[:, slice(size and size[0]), slice(size and size[1])] = True
    seen = valid.reshape(-1)
    scores = q.reshape(-1, 8) @ k.reshape(-1, 8)[seen].T / np.sqrt(8)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    out = jax.jit(flux.attention)(q, k, v, None if size is None else valid)
    np.testing.assert_allclose(out.reshape(-1, 8), weights @ v.reshape(-1, 8)[seen], rtol=0, atol=1e-6)


def test_attention_of_a_large_image_never_holds_all_scores():
    array = jax.ShapeDtypeStruct((1, 128, 128, 512), jnp.bfloat16)
    program = str(jax.make_jaxpr(lambda q, k, v: flux.attention(q, k, v, None))(array, array, array))
    sizes = [math.prod(map(int, shape.split(","))) for shape in re.findall(r"\[([\d,]+)\]", program)]
    assert max(sizes) == flux.QUERY_CHUNK * 128**2


def test_weights_are_arguments_of_a_compiled_encoder(vae):
    """With all weights zero the posterior mean is zero, though the function was compiled with other weights."""
    latents = ENCODE(jax.tree.map(jnp.zeros_like, vae), released_array("parts", "vae_image"))
    np.testing.assert_allclose(latents, -CONFIG.scale * CONFIG.shift, rtol=1.5e-7)


def test_the_published_config_has_the_published_number_of_weights():
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

    published = nnx.eval_shape(lambda: FluxVAE(bagel.PUBLISHED, rngs=nnx.Rngs(params=0)))
    counts = [sum(x.size for x in jax.tree.leaves(part)) for part in (published.encoder, published.decoder)]
    assert counts == [encoder, decoder] == [34_274_208, 49_545_475]
    assert sum(counts) == 83_819_683
    assert {x.dtype for x in jax.tree.leaves(published)} == {jnp.dtype("float32")}
