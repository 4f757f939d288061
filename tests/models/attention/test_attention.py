"""The one function around the backends: what is cached, devices, and which backend runs where."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.errors import UserError
from irg_jax.models.attention import BACKENDS, PLATFORMS, attention, backend_for
from irg_jax.models.attention.spans import Cached, Spans
from irg_jax.training.sharding import make_mesh
from tests import tiny
from tests.models.attention.packings import heads, random_packings

ANYWHERE = sorted(set(BACKENDS) - set(PLATFORMS))


@pytest.mark.parametrize("backend", ANYWHERE)
def test_keys_may_be_split_into_cached_and_new_ones(backend):
    spans = random_packings(6)
    q, k, v = heads(spans)
    whole = attention(q, k, v, spans, backend="plain")
    old, new = (Spans(spans.query, spans.start[:, part], spans.end[:, part]) for part in (np.s_[:30], np.s_[30:]))
    cached = Cached(k[:, :30], v[:, :30], old.start, old.end, ((0, 30),))
    split = attention(q, k[:, 30:], v[:, 30:], new, cached, backend=backend)
    np.testing.assert_allclose(split, whole, atol=5e-6)


@pytest.mark.parametrize("backend", ANYWHERE)
def test_rows_share_a_cache_through_views(backend):
    """Two branches over one cache: the second looks at a part of it, and sees no more than its spans say."""
    spans = random_packings(2)
    q, k, v = heads(spans)
    rows = Spans(*(jnp.repeat(jnp.asarray(x), 2, axis=0) for x in spans))
    q2, k2, v2 = (jnp.repeat(x, 2, axis=0) for x in (q, k, v))
    in_view = jnp.arange(k.shape[1]) >= jnp.array([0, 20, 0, 20])[:, None]
    wanted = attention(q2, k2, v2, rows._replace(end=jnp.where(in_view, rows.end, 0)), backend="plain")
    cached = Cached(k, v, spans.start, spans.end, ((0, k.shape[1]), (20, k.shape[1])))
    nothing = Spans(rows.query, rows.start[:, :0], rows.end[:, :0])
    got = attention(q2, k2[:, :0], v2[:, :0], nothing, cached, backend=backend)
    np.testing.assert_allclose(got, wanted, atol=5e-6)


@pytest.mark.parametrize("backend", ANYWHERE)
@pytest.mark.parametrize("axes", [dict(data=2, context=2, tensor=2), dict(fsdp=4, context=2)], ids=str)
def test_every_device_has_its_own_rows_queries_and_heads(backend, axes):
    spans = jax.tree.map(jnp.asarray, random_packings(4))
    given = heads(spans)

    def run(backend):
        def loss(q, k, v):
            out = attention(q, k, v, spans, backend=backend)
            return jnp.sum(out**2), out

        return jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*given))

    wanted = run("plain")
    with jax.set_mesh(make_mesh(axes)):
        got = run(backend)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_auto_is_the_best_of_a_platform():
    assert backend_for("auto", "cpu") == "chunked"
    for backend, platform in PLATFORMS.items():
        assert backend_for("auto", platform) == backend
        with pytest.raises(UserError, match=f"{backend} does not run on cpu"):
            dataclasses.replace(tiny.CONFIG, attention=backend).on("cpu")
