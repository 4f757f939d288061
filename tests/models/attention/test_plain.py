"""Plain attention against loops that follow its definition literally."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.models.attention import plain
from irg_jax.models.attention.spans import MIN_LSE, Spans, dense_mask


def attention(*inputs):
    return plain.attend(*inputs).out


B, Q, K, D = 2, 7, 9, 8


def inputs(heads, groups):
    rng = np.random.default_rng(0)
    q = rng.normal(size=(B, Q, heads, D))
    k, v = rng.normal(size=(2, B, K, groups, D))
    start = rng.integers(0, 4, (B, K))
    start[:, 0] = 0
    end = start + rng.integers(1, 8, (B, K))
    end[:, 0] = 100  # every query sees the first key
    spans = Spans(np.tile(np.arange(Q), (B, 1)), start, end)
    return *(x.astype(np.float32) for x in (q, k, v)), Spans(*(x.astype(np.int32) for x in spans))


def attention_in_loops(q, k, v, spans):
    out = np.zeros(q.shape)
    per_group = q.shape[2] // k.shape[2]
    for b, i, h in np.ndindex(q.shape[:3]):
        g = h // per_group  # neighbouring query heads share a KV head
        seen = [j for j in range(k.shape[1]) if spans.start[b, j] <= spans.query[b, i] < spans.end[b, j]]
        scores = np.array([q[b, i, h] @ k[b, j, g] for j in seen]) / np.sqrt(q.shape[3])
        weights = np.exp(scores - scores.max())
        out[b, i, h] = (weights / weights.sum()) @ v[b, seen, g]
    return out


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (6, 2), (4, 1)])
def test_it_is_the_softmax_over_visible_keys(heads, groups):
    qkv_spans = inputs(heads, groups)
    np.testing.assert_allclose(attention(*qkv_spans), attention_in_loops(*qkv_spans), rtol=0, atol=3e-6)


def test_the_dense_mask_is_the_span_rule():
    spans = Spans(*(jnp.array([x]) for x in ([0, 1, 5], [1, 0], [6, 1])))
    np.testing.assert_array_equal(dense_mask(spans)[0], [[False, True], [True, False], [True, False]])


def test_a_query_without_keys_has_zero_output_and_gradient():
    q, k, v, spans = inputs(4, 2)
    hidden = spans._replace(start=np.full_like(spans.start, np.iinfo(np.int32).max), end=np.zeros_like(spans.end))
    out, lse = plain.attend(q, k, v, hidden)
    assert not out.any() and (lse == np.float32(MIN_LSE)).all()
    grads = jax.grad(lambda q, k, v: attention(q, k, v, hidden).sum(), argnums=(0, 1, 2))(q, k, v)
    assert not any(g.any() for g in grads)


def test_hidden_keys_have_zero_gradient():
    q, k, v, spans = inputs(4, 2)
    spans.start[:, 3:5], spans.end[:, 3:5] = np.iinfo(np.int32).max, 0
    for grad in jax.grad(lambda k, v: (attention(q, k, v, spans) ** 2).sum(), argnums=(0, 1))(k, v):
        assert not grad[:, 3:5].any() and np.abs(grad[:, :3]).max() > 0


def test_bfloat16_is_close():
    q, k, v, spans = inputs(4, 2)
    half = attention(*(x.astype(jnp.bfloat16) for x in (q, k, v)), spans)
    np.testing.assert_allclose(half, attention(q, k, v, spans), atol=0.05)


def test_empty_keys_and_queries_are_allowed():
    """A row without images has no ViT tokens."""
    q, k, v, spans = inputs(4, 2)
    assert attention(q[:, :0], k[:, :0], v[:, :0], Spans(*(x[:, :0] for x in spans))).shape == (B, 0, 4, D)
