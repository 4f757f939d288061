"""Chunked cross entropy against that of all logits at once."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from irg_jax.models.cross_entropy import token_cross_entropy

B, T, D, V = 2, 21, 8, 50


def inputs(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    hidden, kernel = jnp.asarray(rng.normal(size=(B, T, D)), dtype), jnp.asarray(rng.normal(size=(D, V)), jnp.float32)
    return hidden, kernel, jnp.asarray(rng.integers(0, V, (B, T))), jnp.asarray(rng.random((B, T)), jnp.float32)


def full_cross_entropy(hidden, kernel, label):
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ kernel, label)


def gradients(loss, hidden, kernel, label, weight):
    return jax.grad(lambda h, k: jnp.sum(loss(h, k, label) * weight), argnums=(0, 1))(hidden, kernel)


@pytest.mark.parametrize("chunk", [1, 7, 8, 100])
def test_it_equals_the_cross_entropy_of_all_logits(chunk):
    hidden, kernel, label, weight = inputs()

    def loss(hidden, kernel, label):
        return token_cross_entropy(hidden, kernel, label, chunk=chunk)

    np.testing.assert_allclose(loss(hidden, kernel, label), full_cross_entropy(hidden, kernel, label), rtol=3e-7)
    wanted = gradients(full_cross_entropy, hidden, kernel, label, weight)
    for got, want in zip(gradients(loss, hidden, kernel, label, weight), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-6 * np.abs(want).max())


def test_bfloat16_hidden_states_keep_float32_losses_and_weights():
    hidden, kernel, label, weight = inputs(jnp.bfloat16)

    def loss(hidden, kernel, label):
        return token_cross_entropy(hidden, kernel, label, chunk=4)

    out = loss(hidden, kernel, label)
    assert out.dtype == jnp.float32
    rounded = kernel.astype(jnp.bfloat16).astype(jnp.float32)
    np.testing.assert_allclose(out, full_cross_entropy(hidden.astype(jnp.float32), rounded, label), rtol=3e-7)
    got = gradients(loss, hidden, kernel, label, weight)
    assert [x.dtype for x in got] == [jnp.bfloat16, jnp.float32]
    for x, want in zip(
        got, gradients(full_cross_entropy, hidden.astype(jnp.float32), rounded, label, weight), strict=True
    ):
        np.testing.assert_allclose(x.astype(np.float32), want, atol=1e-2 * np.abs(want).max())


def test_an_unlikely_label_is_exact():
    """The loss is the log-sum-exp minus one logit, never the log of a probability that has become 0."""
    hidden, kernel = jnp.ones((1, 1, 1)), jnp.array([[300.0, 0.0]])
    loss, grad = jax.value_and_grad(lambda h: token_cross_entropy(h, kernel, jnp.array([[1]]), chunk=1)[0, 0])(hidden)
    assert loss == 300 and grad[0, 0, 0] == 300


def test_rows_without_tokens_are_allowed():
    hidden, kernel, label, _ = inputs()
    assert token_cross_entropy(hidden[:, :0], kernel, label[:, :0], chunk=4).shape == (B, 0)


def test_all_logits_are_never_in_memory_at_once():
    rows, tokens, size, vocabulary, chunk = 2, 1024, 16, 2048, 32

    def loss(hidden, kernel, label):
        return jnp.sum(token_cross_entropy(hidden, kernel, label, chunk=chunk) ** 2)

    shapes = [((rows, tokens, size), jnp.float32), ((size, vocabulary), jnp.float32), ((rows, tokens), jnp.int32)]
    lowered = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*(jax.ShapeDtypeStruct(*x) for x in shapes))
    logits = 4 * rows * tokens * vocabulary
    assert lowered.compile().memory_analysis().temp_size_in_bytes < logits / 8
