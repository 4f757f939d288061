"""Layers with a custom gradient have the same gradient as autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.models.layers import matmul, rms_norm

SHAPES = [(5, 8), (1, 7, 8), (2, 3, 4, 8), (2, 0, 8)]


def gradients(f, *inputs):
    """Gradients of a loss that weights every element of the result differently."""
    out, pull = jax.vjp(f, *inputs)
    return pull(jax.random.normal(jax.random.key(9), out.shape, out.dtype))


def assert_close(ours, wanted, atol):
    for a, b in zip(ours, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a, np.float32), np.asarray(b, np.float32), atol=atol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_the_gradient_of_a_matmul(shape, dtype, atol):
    x = jax.random.normal(jax.random.key(0), shape, dtype)
    w = jax.random.normal(jax.random.key(1), (8, 6), dtype)
    assert_close(gradients(matmul, x, w), gradients(lambda x, w: x @ w, x, w), atol)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "atol"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_the_gradient_of_rms_norm(shape, dtype, atol):
    x = 3 * jax.random.normal(jax.random.key(0), shape, dtype)
    scale = jax.random.normal(jax.random.key(1), (8,), dtype)

    def plain(x, scale):
        y = x.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.mean(y * y, axis=-1, keepdims=True) + 1e-6)
        return y.astype(x.dtype) * scale

    assert_close(gradients(lambda x, s: rms_norm(x, s, 1e-6), x, scale), gradients(plain, x, scale), atol)


def test_rms_norm_of_zeros_has_a_finite_gradient():
    x_grad, scale_grad = gradients(lambda x, s: rms_norm(x, s, 1e-6), jnp.zeros((2, 8)), jnp.ones(8))
    assert jnp.isfinite(x_grad).all() and not scale_grad.any()
