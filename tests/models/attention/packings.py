"""Rows packed as ``data.layout`` packs them, and how a backend is held against the plain one. Tests share them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.models.attention import plain
from irg_jax.models.attention.spans import LOWEST, Attended, Spans

UND, GEN, D = 40, 30, 8
FAR = np.iinfo(np.int32).max


def packed(samples, und=UND, gen=GEN):
    """Spans of one row: samples of (kind, tokens) segments, the understanding stream first; what is too long is cut.

    Kinds are "text", and blocks of that many patches: "vit", "clean" and "noised".
    """
    streams = {"und": [], "gen": []}
    position = 0
    for sample in samples:
        finish = position + sum(n + 2 * (kind != "text") for kind, n in sample)
        for kind, n in sample:
            if kind == "text":
                streams["und"] += [(i, i, finish) for i in range(position, position + n)]
                position += n
                continue
            last = position + n + 1
            end = last + 1 if kind == "noised" else finish
            patches = [(i, position, end) for i in range(position + 1, last)]
            inside = {"und": patches, "gen": []} if kind == "vit" else {"und": [], "gen": patches}
            streams["und"] += [(position, position, end), *inside["und"], (last, position, end)]
            streams["gen"] += inside["gen"]
            position = last + 1
    padding = [(-1, FAR, 0)]
    und, gen = ((streams[name] + padding * n)[:n] for name, n in (("und", und), ("gen", gen)))
    return Spans(*np.array(und + gen, np.int32).T)


def random_packings(count, seed=0):
    """Spans [count, UND + GEN] of any samples; the first row is empty."""
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


def heads(spans, heads=4, groups=2, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    (rows, queries), keys = spans.query.shape, spans.start.shape[1]
    shapes = [(rows, queries, heads, D), (rows, keys, groups, D), (rows, keys, groups, D)]
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def with_gradients(attend, q, k, v, spans):
    """Output, log-sum-exp and the gradients of q, k and v, for a random gradient of both."""
    rng = np.random.default_rng(1)
    grads = Attended(rng.normal(size=q.shape), rng.normal(size=q.shape[:3]))

    @jax.jit
    def run(q, k, v, spans):
        attended, pull = jax.vjp(lambda *x: attend(*x, spans), q, k, v)
        return *attended, *pull(jax.tree.map(lambda g, x: jnp.asarray(g, x.dtype), grads, attended))

    return [np.asarray(x, np.float32) for x in run(q, k, v, Spans(*map(jnp.asarray, spans)))]


def assert_equals_the_reference(attend, q, k, v, spans):
    both = (with_gradients(f, q, k, v, spans) for f in (attend, plain.attend))
    for got, wanted in zip(*both, strict=True):
        np.testing.assert_allclose(got, wanted, atol=5e-6)


def assert_as_close_as_the_reference_in_bfloat16(attend, spans):
    """Both are held against float32; the reference rounds its output later, so it may be a little closer."""
    exact = with_gradients(plain.attend, *heads(spans), spans)
    half = heads(spans, dtype=jnp.bfloat16)
    assert attend(*half, spans).out.dtype == jnp.bfloat16
    reference = with_gradients(plain.attend, *half, spans)
    for got, rounded, wanted in zip(with_gradients(attend, *half, spans), reference, exact, strict=True):
        assert np.linalg.norm(got - wanted) < 1.5 * np.linalg.norm(rounded - wanted)


def assert_a_blind_query_gets_zero_and_passes_no_gradient_on(attend):
    spans = Spans(*(x[None] for x in packed([[("text", 10), ("noised", 5)]])))
    q, k, v = heads(spans)
    blind = spans.query < 0
    (out, lse), pull = jax.vjp(jax.jit(lambda *x: attend(*x, spans)), q, k, v)
    assert np.abs(out[~blind]).max() > 0 and not out[blind].any()
    assert (lse[blind] == np.float32(LOWEST)).all()
    grads = jax.jit(pull)(Attended(jnp.ones_like(out) * blind[..., None, None], jnp.ones_like(lse) * blind[..., None]))
    assert not any(grad.any() for grad in grads)


def assert_no_keys_and_no_queries_are_fine(attend):
    spans = random_packings(2)
    q, k, v = heads(spans)
    nothing = attend(q, k[:, :0], v[:, :0], spans._replace(start=spans.start[:, :0], end=spans.end[:, :0]))
    assert nothing.out.shape == q.shape and not nothing.out.any() and (nothing.lse == np.float32(LOWEST)).all()
    assert attend(q[:, :0], k, v, spans._replace(query=spans.query[:, :0])).out.shape == (2, 0, *q.shape[2:])


def assert_it_runs_in_scanned_and_rematerialised_layers(attend):
    spans = random_packings(3)
    q, k, v = heads(spans)

    def loss(attend, q):
        layer = jax.checkpoint(lambda x, scale: (x + attend(x, scale * k, v, spans).out, None))
        return jnp.sum(jax.lax.scan(layer, q, jnp.array([1.0, 0.5]))[0][:, ::3] ** 2)

    got, wanted = (jax.jit(jax.grad(functools.partial(loss, f)))(q) for f in (attend, plain.attend))
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def count_in_gradient(attend, policy, primitive):
    """How often a primitive stands in a layer's gradient of q under a remat policy."""
    spans = random_packings(1)
    q, k, v = heads(spans)
    layer = jax.checkpoint(lambda q: attend(q, k, v, spans).out, policy=policy)
    return str(jax.make_jaxpr(jax.grad(lambda q: jnp.sum(layer(q) ** 2)))(q)).count(f" {primitive}[")
