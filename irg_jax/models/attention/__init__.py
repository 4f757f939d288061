"""Grouped-query attention over spans, by one of several backends that all give the same numbers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from irg_jax.errors import UserError
from irg_jax.models.attention import chunked, gpu, plain, tpu
from irg_jax.models.attention.spans import Attended, Cached, Spans, merged
from irg_jax.models.placement import HEADS, ROWS, TOKENS

# From q [B, Q, H, D], k and v [B, K, G, D] and the spans of k, to what the queries make of these keys. Scores and
# softmax are float32; KV heads are never repeated.
Backend = Callable[[jax.Array, jax.Array, jax.Array, Spans], Attended]

BACKENDS: dict[str, Backend] = {
    "plain": plain.attend,
    "chunked": chunked.attend,
    "gpu": gpu.attend,
    "tpu": tpu.attend,
}

# What each backend needs; the others run anywhere.
PLATFORMS = {"gpu": "gpu", "tpu": "tpu"}


def backend_for(name: str, platform: str) -> str:
    """The backend that the config's ``model.attention`` means on a platform.

    Args:
      name: of a backend, or ``auto`` for the platform's own.
      platform: ``cpu``, ``gpu`` or ``tpu``.

    Raises:
      UserError: it does not run there.
    """
    if name == "auto":
        return next((backend for backend, needed in PLATFORMS.items() if needed == platform), "chunked")
    if PLATFORMS.get(name, platform) != platform:
        raise UserError(f"model.attention: {name} does not run on {platform}; set it to auto")
    return name


def attention(
    q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans, cached: Cached | None = None, *, backend: str
) -> jax.Array:
    """softmax(q·kᵀ/√D) v over the visible keys.

    Args:
      q: [B, Q, H, D].
      k: [B, K, G, D], H a multiple of G.
      v: [B, K, G, D].
      spans: visibility of ``k``.
      cached: more keys, which are neither copied nor joined to ``k``.
      backend: a name in ``BACKENDS``.

    Returns:
      [B, Q, H, D] in the dtype of ``q``; 0 for a query that sees no key, which passes no gradient on either.
    """
    attend = BACKENDS[backend]
    with jax.named_scope("attention"):
        here = _on_every_device(attend, q, k, v, spans)
        out = here.out if cached is None else merged(here, _attend_cached(attend, q, spans.query, cached))
        return out.astype(q.dtype)


def _on_every_device(attend: Backend, q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> Attended:
    """``attend`` over this device's rows, queries and heads: a loop or a kernel is nothing the compiler could split."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.size == 1 or mesh.empty or attend is plain.attend:
        return attend(q, k, v, spans)
    tokens = TOKENS if q.shape[1] % mesh.shape[TOKENS] == 0 else None
    queries, keys = P(ROWS, tokens, HEADS), P(ROWS, None, HEADS)
    visibility: Any = Spans(P(ROWS, tokens), P(ROWS), P(ROWS))  # type: ignore[arg-type]
    return jax.shard_map(attend, in_specs=(queries, keys, keys, visibility), out_specs=queries, check_vma=False)(
        q, k, v, spans
    )


def _attend_cached(attend: Backend, q: jax.Array, query: jax.Array, cached: Cached) -> Attended:
    """Over the cache, each row through its own view."""
    count, views = len(cached.k), len(cached.views)
    q, query = (x.reshape(count, views, *x.shape[1:]) for x in (q, query))
    parts = []
    for i, (first, end) in enumerate(cached.views):
        k, v, start, stop = (x[:, first:end] for x in (cached.k, cached.v, cached.start, cached.end))
        parts.append(attend(q[:, i], k, v, Spans(query[:, i], start, stop)))
    return Attended(*(jnp.stack(x, axis=1).reshape(count * views, *x[0].shape[1:]) for x in zip(*parts, strict=True)))
