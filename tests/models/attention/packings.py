"""Spans of rows packed as in ``data.packing.layout``, and checks of a backend against the plain one, for the tests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.models.attention import plain
from irg_jax.models.attention.spans import MIN_LSE, AttentionOutput, Spans

UND, GEN, D = 40, 30, 8
INT32_MAX = np.iinfo(np.int32).max


def packed(samples, und=UND, gen=GEN):
    """Spans of one row of samples, the understanding stream first; tokens beyond ``und`` and ``gen`` are cut off.

    A sample is a list of (kind, tokens): "text", or images of that many patches: "vit", "clean" and "noised".
    """
    streams = {"und": [], "gen": []}
    position = 0
    for sample in samples:
        sample_end = position + sum(n + 2 * (kind != "text") for kind, n in sample)
        for kind, n in sample:
            if kind == "text":
                streams["und"] += [(i, i, sample_end) for i in range(position, position + n)]
                position += n
                continue
            last = position + n + 1
            end = last + 1 if kind == "noised" else sample_end
            patches = [(i, position, end) for i in range(position + 1, last)]
            by_stream = {"und": patches, "gen": []} if kind == "vit" else {"und": [], "gen": patches}
            streams["und"] += [(position, position, end), *by_stream["und"], (last, position, end)]
            streams["gen"] += by_stream["gen"]
            position = last + 1
    padding = [(-1, INT32_MAX, 0)]
    und, gen = ((streams[name] + padding * n)[:n] for name, n in (("und", und), ("gen", gen)))
    return Spans(*np.array(und + gen, np.int32).T)


def random_packings(count, seed=0):
    """Spans [count, UND + GEN] of random samples; the first row is empty."""
    rng = np.random.default_rng(seed)
    kinds = ("text", "vit", "clean", "noised")
    rows = [packed([])]
    for _ in range(count - 1):
        samples = [
            [(str(rng.choice(kinds)), int(rng.integers(1, 10))) for _ in range(rng.integers(1, 5))]
            for _ in range(rng.integers(1, 4))
        ]
        rows.append(packed(samples))
    return jax.tree.map(lambda *x: np.stack(x), *rows)


def random_qkv(spans, heads=4, groups=2, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    (rows, queries), keys = spans.query.shape, spans.start.shape[1]
    shapes = [(rows, queries, heads, D), (rows, keys, groups, D), (rows, keys, groups, D)]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def outputs_and_gradients(attend, q, k, v, spans):
    """Output, log-sum-exp and the gradients of q, k and v, for a random gradient of both."""
    rng = np.random.default_rng(1)
    grads = AttentionOutput(rng.normal(size=q.shape), rng.normal(size=q.shape[:3]))

    @jax.jit
    def run(q, k, v, spans):
        output, pull = jax.vjp(lambda *x: attend(*x, spans), q, k, v)
        return *output, *pull(jax.tree.map(lambda g, x: jnp.asarray(g, x.dtype), grads, output))

    return [np.asarray(x, np.float32) for x in run(q, k, v, Spans(*map(jnp.asarray, spans)))]


def assert_matches_the_reference(attend, q, k, v, spans):
    both = (outputs_and_gradients(f, q, k, v, spans) for f in (attend, plain.attend))
    for got, wanted in zip(*both, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-6)


def assert_bfloat16_is_as_close_as_the_reference(attend, spans):
    """Both are compared with float32; the reference rounds its output later, so it may be a little closer."""
    exact = outputs_and_gradients(plain.attend, *random_qkv(spans), spans)
    half = random_qkv(spans, dtype=jnp.bfloat16)
    assert attend(*half, spans).out.dtype == jnp.bfloat16
    reference = outputs_and_gradients(plain.attend, *half, spans)
    for got, rounded, wanted in zip(outputs_and_gradients(attend, *half, spans), reference, exact, strict=True):
        assert np.linalg.norm(got - wanted) < 1.5 * np.linalg.norm(rounded - wanted)


def assert_a_query_without_keys_has_zero_output_and_gradient(attend):
    spans = Spans(*(x[None] for x in packed([[("text", 10), ("noised", 5)]])))
    q, k, v = random_qkv(spans)
    blind = spans.query < 0
    (out, lse), pull = jax.vjp(jax.jit(lambda *x: attend(*x, spans)), q, k, v)
    assert np.abs(out[~blind]).max() > 0 and not out[blind].any()
    assert (lse[blind] == np.float32(MIN_LSE)).all()
    grads = jax.jit(pull)(
        AttentionOutput(jnp.ones_like(out) * blind[..., None, None], jnp.ones_like(lse) * blind[..., None])
    )
    assert not any(grad.any() for grad in grads)


def assert_empty_keys_and_queries_are_allowed(attend):
    spans = random_packings(2)
    q, k, v = random_qkv(spans)
    output = attend(q, k[:, :0], v[:, :0], spans._replace(start=spans.start[:, :0], end=spans.end[:, :0]))
    assert output.out.shape == q.shape and not output.out.any() and (output.lse == np.float32(MIN_LSE)).all()
    assert attend(q[:, :0], k, v, spans._replace(query=spans.query[:, :0])).out.shape == (2, 0, *q.shape[2:])


def assert_it_works_under_scan_and_remat(attend):
    spans = random_packings(3)
    q, k, v = random_qkv(spans)

    def loss(attend, q):
        layer = jax.checkpoint(lambda x, scale: (x + attend(x, scale * k, v, spans).out, None))
        return jnp.sum(jax.lax.scan(layer, q, jnp.array([1.0, 0.5]))[0][:, ::3] ** 2)

    got, wanted = (jax.jit(jax.grad(functools.partial(loss, f)))(q) for f in (attend, plain.attend))
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def count_in_gradient(attend, policy, primitive):
    """How often a primitive occurs in a layer's gradient of q under a remat policy."""
    spans = random_packings(1)
    q, k, v = random_qkv(spans)
    layer = jax.checkpoint(lambda q: attend(q, k, v, spans).out, policy=policy)
    return str(jax.make_jaxpr(jax.grad(lambda q: jnp.sum(layer(q) ** 2)))(q)).count(f" {primitive}[")
