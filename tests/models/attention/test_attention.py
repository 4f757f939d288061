"""``attention`` around the backends: the KV cache, sharding over devices, and which backend runs on which platform."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.core.errors import ConfigError
from irg_jax.models.attention import BACKENDS, attention
from irg_jax.models.attention.spans import CacheView, Spans
from irg_jax.models.config import BACKEND_PLATFORMS
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from tests import tiny
from tests.models.attention.packings import random_packings, random_qkv

ON_ALL_PLATFORMS = sorted(set(BACKENDS) - set(BACKEND_PLATFORMS))


@pytest.mark.parametrize("backend", ON_ALL_PLATFORMS)
def test_keys_may_be_split_into_cached_and_new_ones(backend):
    spans = random_packings(6)
    q, k, v = random_qkv(spans)
    whole = attention(q, k, v, spans, backend="plain")
    old, new = (Spans(spans.query, spans.start[:, part], spans.end[:, part]) for part in (np.s_[:30], np.s_[30:]))
    cache = CacheView(k[:, :30], v[:, :30], old.start, old.end, ((0, 30),))
    split = attention(q, k[:, 30:], v[:, 30:], new, cache, backend=backend)
    np.testing.assert_allclose(split, whole, rtol=0, atol=3e-6)


@pytest.mark.parametrize("backend", ON_ALL_PLATFORMS)
def test_rows_share_a_cache_through_views(backend):
    """Two CFG branches share one cache: the second reads only a part of it, and its spans still apply."""
    spans = random_packings(2)
    q, k, v = random_qkv(spans)
    rows = Spans(*(jnp.repeat(jnp.asarray(x), 2, axis=0) for x in spans))
    q2, k2, v2 = (jnp.repeat(x, 2, axis=0) for x in (q, k, v))
    in_view = jnp.arange(k.shape[1]) >= jnp.array([0, 20, 0, 20])[:, None]
    wanted = attention(q2, k2, v2, rows._replace(end=jnp.where(in_view, rows.end, 0)), backend="plain")
    cache = CacheView(k, v, spans.start, spans.end, ((0, k.shape[1]), (20, k.shape[1])))
    no_keys = Spans(rows.query, rows.start[:, :0], rows.end[:, :0])
    got = attention(q2, k2[:, :0], v2[:, :0], no_keys, cache, backend=backend)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize("backend", ON_ALL_PLATFORMS)
@pytest.mark.parametrize(
    "axes",
    [
        dict(fsdp=4),
        dict(context=7),
        dict(tensor=2),
        dict(data=2, context=2),
        dict(fsdp=4, tensor=2),
        dict(data=2, context=2, tensor=2),
    ],
    ids=str,
)
def test_it_is_sharded_over_rows_queries_and_heads(backend, axes):
    spans = jax.tree.map(jnp.asarray, random_packings(4))
    qkv = random_qkv(spans)

    def run(backend):
        def loss(q, k, v):
            out = attention(q, k, v, spans, backend=backend)
            return jnp.sum(out**2), out

        return jax.tree.leaves(jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))(*qkv))

    wanted = run("plain")
    with jax.set_mesh(make_mesh(MeshConfig(**{"fsdp": 1} | axes), jax.devices()[: math.prod(axes.values())])):
        got = run(backend)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_auto_is_the_best_backend_of_a_platform():
    auto = tiny.execution(attention="auto")
    assert auto.on("cpu").attention == "chunked"
    for backend, platform in BACKEND_PLATFORMS.items():
        assert auto.on(platform).attention == backend
        with pytest.raises(ConfigError, match=f"config.execution.attention: '{backend}' does not run on cpu"):
            tiny.execution(attention=backend).on("cpu")
