"""Attention with every device on its own rows, queries and heads, against one device."""

import jax
import numpy as np
import pytest

from irg_jax.models.attention import attention
from irg_jax.models.attention.spans import CacheView, Spans
from irg_jax.sharding.mesh import MeshConfig, make_mesh

HEADS, KV_HEADS, SIZE, CACHED = 4, 2, 8, 24
VIEWS = ((0, 10), (4, 24))


def arguments(caches, queries):
    """Two rows of queries for each cache, which read different parts of it; keys that only some queries see."""
    rng = np.random.default_rng(0)
    rows = caches * len(VIEWS)
    q, k, v = (
        rng.normal(size=(rows, queries, heads, SIZE)).astype(np.float32) for heads in (HEADS, KV_HEADS, KV_HEADS)
    )
    cached = [rng.normal(size=(caches, CACHED, KV_HEADS, SIZE)).astype(np.float32) for _ in range(2)]
    start = rng.integers(0, 8, (caches, CACHED)).astype(np.int32)
    position = np.broadcast_to(np.arange(4, 4 + queries, dtype=np.int32), (rows, queries))
    return q, k, v, Spans(position, position, position + 3), CacheView(*cached, start, start + 6, VIEWS)


@pytest.mark.parametrize("axes", [dict(fsdp=8), dict(data=2, fsdp=2, tensor=2), dict(fsdp=2, context=4)], ids=str)
@pytest.mark.parametrize(("caches", "queries"), [(8, 4), (3, 5)], ids=["divides", "does not divide"])
def test_each_row_reads_its_own_view_of_its_own_cache(axes, caches, queries):
    q, k, v, spans, cache = arguments(caches, queries)
    attend = jax.jit(
        lambda backend, *arrays: attention(*arrays, CacheView(*cache[:4], VIEWS), backend=backend), static_argnums=0
    )
    expected = attend("plain", q, k, v, spans)
    with jax.set_mesh(make_mesh(MeshConfig(**axes))):
        found = attend("chunked", q, k, v, spans)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("axes", [dict(data=2, context=4), dict(fsdp=2, context=2, tensor=2), dict(tensor=8)], ids=str)
def test_gradients_are_those_of_one_device_also_with_more_devices_than_heads(axes):
    q, k, v, spans, _ = arguments(caches=4, queries=8)

    def gradients(backend):
        loss = lambda *arrays: (attention(*arrays, spans, backend=backend) ** 2).sum()  # noqa: E731
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(q, k, v)

    expected = gradients("plain")
    with jax.set_mesh(make_mesh(MeshConfig(**{"fsdp": 1} | axes))):
        found = gradients("chunked")
    for ours, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=2e-5)
