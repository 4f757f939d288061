"""Attention alone, over the decoder's rows of ``perf.train``: this machine's backends at several block sizes.

The fastest sizes belong in the file of the backend, as its defaults.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irg_jax.core.chips import mfu
from irg_jax.models.attention import BACKENDS, Backend, chunked, gpu, tpu
from irg_jax.models.attention.gpu import Tile, Tiles
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import BACKEND_PLATFORMS
from irg_jax.perf.synthetic import make_batch
from irg_jax.perf.timing import seconds
from irg_jax.training.config import StageConfig
from irg_jax.training.step import visible_pairs


def attention(config: StageConfig, repeats: int) -> dict[str, Any]:
    """Seconds of the forward pass, and of both passes, for each backend and block size; the fastest last."""
    decoder, batch = config.model.decoder, make_batch(config)
    columns = [
        np.concatenate([batch["und"][name], batch["gen"][name]], axis=1) for name in ("position", "start", "end")
    ]
    spans, rng = Spans(*map(jnp.asarray, columns)), np.random.default_rng(0)
    shape = (*spans.query.shape, decoder.heads, decoder.head_dim)
    q, k, v = (
        jnp.asarray(rng.normal(size=(*shape[:2], n, shape[3])), config.execution.dtype)
        for n in (decoder.heads, decoder.kv_heads, decoder.kv_heads)
    )
    pairs = sum(float(visible_pairs(batch[name])) for name in ("und", "gen"))
    flops = 12 * pairs * decoder.heads * decoder.head_dim
    figures: dict[str, Any] = {"rows": len(q), "tokens per row": q.shape[1], "visible pairs": int(pairs)}
    seconds_of_both: dict[str, float] = {}
    for name, attend in candidates(jax.default_backend()).items():
        try:
            forward, both = (seconds(functools.partial(f, q, k, v, spans), repeats)[1] for f in _passes(attend))
        except jax.errors.JaxRuntimeError as error:  # this chip has too little memory for these sizes
            figures[name] = str(error).splitlines()[0][:90]
            continue
        seconds_of_both[name] = both
        utilisation = mfu(flops, both, jax.devices()[0].device_kind, 1)
        of_peak = "" if utilisation is None else f", {100 * utilisation:.0f} % of peak"
        figures[name] = f"forward {forward:.4f} s, both {both:.4f} s, {flops / both / 1e9:.0f} GFLOP/s{of_peak}"
    return figures | {"fastest": min(seconds_of_both, key=lambda name: seconds_of_both[name])}


def candidates(platform: str) -> dict[str, Backend]:
    """The backends to measure on a platform, by name and block sizes."""
    sizes = (128, 256, 512, 1024)
    backends: dict[str, Backend] = {"plain": BACKENDS["plain"]}
    for block_q, block_k in itertools.product(sizes, sizes):
        backends[f"chunked {block_q} x {block_k}"] = functools.partial(chunked.attend, block_q=block_q, block_k=block_k)
    if platform == BACKEND_PLATFORMS["tpu"]:
        for block_q, block_k in itertools.product(sizes, sizes):
            backends[f"tpu {block_q} x {block_k}"] = functools.partial(tpu.attend, block_q=block_q, block_k=block_k)
        backends["tpu, defaults"] = tpu.attend
    if platform == BACKEND_PLATFORMS["gpu"]:
        for queries, keys, warps, stages in itertools.product((64, 128), (64, 128), (4, 8), (2, 3)):
            tile = Tile(queries, keys, warps, stages)
            backends[f"gpu {queries} x {keys}, {warps} warps, {stages} stages"] = functools.partial(
                gpu.attend, tiles=Tiles(tile, tile, tile)
            )
        backends["gpu, defaults"] = gpu.attend
    return backends


def _passes(attend: Backend) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The forward pass, and both passes, compiled at their first call."""

    def loss(q: jax.Array, k: jax.Array, v: jax.Array, spans: Spans) -> jax.Array:
        return jnp.sum(attend(q, k, v, spans).out.astype(jnp.float32))

    return jax.jit(attend), jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
