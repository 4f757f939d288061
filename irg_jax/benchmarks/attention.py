"""Attention alone, over the decoder's rows of ``benchmarks.train``: what this machine has, at several block sizes.

The fastest sizes belong into the backend's file, where its defaults stand.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.benchmarks.common import seconds
from irg_jax.benchmarks.train import make_batch
from irg_jax.models.attention import BACKENDS, PLATFORMS, Backend, chunked, gpu, tpu
from irg_jax.models.attention.gpu import Tile, Tiles
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import ModelConfig
from irg_jax.training.metrics import mfu
from irg_jax.training.step import visible_pairs


def attention(config: Any, model: ModelConfig, repeats: int) -> dict[str, Any]:
    """Seconds of the forward pass, and of both passes, for each backend and block size; the fastest at last."""
    decoder, batch = model.decoder, make_batch(config, model)
    columns = [
        np.concatenate([batch["und"][name], batch["gen"][name]], axis=1) for name in ("position", "start", "end")
    ]
    spans, rng = Spans(*map(jnp.asarray, columns)), np.random.default_rng(0)
    shape = (*spans.query.shape, decoder.heads, decoder.head_dim)
    q, k, v = (
        jnp.asarray(rng.normal(size=(*shape[:2], n, shape[3])), model.dtype)
        for n in (decoder.heads, decoder.kv_heads, decoder.kv_heads)
    )
    pairs = sum(float(visible_pairs(batch[name])) for name in ("und", "gen"))
    flops = 12 * pairs * decoder.heads * decoder.head_dim
    found: dict[str, Any] = {"rows": len(q), "tokens a row": q.shape[1], "visible pairs": int(pairs)}
    both: dict[str, float] = {}
    for name, attend in candidates(jax.default_backend()).items():
        try:
            forward, backward = (seconds(functools.partial(f, q, k, v, spans), repeats)[1] for f in _passes(attend))
        except jax.errors.JaxRuntimeError as error:  # sizes that this chip has no room for
            found[name] = str(error).splitlines()[0][:90]
            continue
        both[name] = backward
        share = mfu(flops, backward, jax.devices()[0].device_kind, 1)
        reached = f"{flops / backward / 1e9:.0f} GFLOP/s" + ("" if share is None else f", {100 * share:.0f} % of peak")
        found[name] = f"forward {forward:.4f} s, both {backward:.4f} s, {reached}"
    return found | {"fastest": min(both, key=lambda name: both[name])}


def candidates(platform: str) -> dict[str, Backend]:
    """What is tried on a platform, by name and sizes."""
    sizes = (128, 256, 512, 1024)
    tried: dict[str, Backend] = {"plain": BACKENDS["plain"]}
    for block_q, block_k in itertools.product(sizes, sizes):
        tried[f"chunked {block_q} x {block_k}"] = functools.partial(chunked.attend, block_q=block_q, block_k=block_k)
    if platform == PLATFORMS["tpu"]:
        for block_q, block_k in itertools.product(sizes, sizes):
            tried[f"tpu {block_q} x {block_k}"] = functools.partial(tpu.attend, block_q=block_q, block_k=block_k)
        tried["tpu, defaults"] = tpu.attend
    if platform == PLATFORMS["gpu"]:
        for queries, keys, warps, stages in itertools.product((64, 128), (64, 128), (4, 8), (2, 3)):
            tile = Tile(queries, keys, warps, stages)
            tried[f"gpu {queries} x {keys}, {warps} warps, {stages} stages"] = functools.partial(
                gpu.attend, tiles=Tiles(tile, tile, tile)
            )
        tried["gpu, defaults"] = gpu.attend
    return tried


def _passes(attend: Backend) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def loss(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> jax.Array:
        return jnp.sum(attend(q, k, v, spans).out.astype(jnp.float32))

    return jax.jit(attend), jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
