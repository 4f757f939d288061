"""The mixture-of-transformers block: two experts, two streams, one attention (BAGEL, arXiv 2505.14683, section 2).

Understanding tokens and generation tokens live in arrays of their own, so each expert is a dense matmul over its own
tokens and no token pays for the other expert. Only attention is joint, and there the order of tokens is data.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.models import embeddings
from irg_jax.models.attention import attention
from irg_jax.models.attention.spans import Cached, Spans
from irg_jax.models.config import DecoderConfig
from irg_jax.models.param import Linear, RMSNorm
from irg_jax.models.placement import gather_tokens, splits_tokens

_kernel = nnx.initializers.lecun_normal()

Heads = tuple[jax.Array, jax.Array, jax.Array]


class Expert(nnx.Module):
    """One full set of a layer's weights, applied to its own stream."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        d, size = config.hidden, config.head_dim

        # What goes back into the residual stream starts small, so that deep layers still see which token they are at.
        back = nnx.initializers.variance_scaling(0.5 / config.layers, "fan_in", "normal")

        def linear(n_in: int, n_out: int, in_axis: str, out_axis: str, bias: bool = False) -> Linear:
            init = back if out_axis == "embed" else _kernel
            return Linear(n_in, n_out, (in_axis, out_axis), bias=bias, rngs=rngs, init=init)

        self.attention_norm = RMSNorm(d, "embed", eps=config.norm_eps, rngs=rngs)
        self.q = linear(d, config.heads * size, "embed", "heads", bias=True)
        self.k = linear(d, config.kv_heads * size, "embed", "kv_heads", bias=True)
        self.v = linear(d, config.kv_heads * size, "embed", "kv_heads", bias=True)
        self.o = linear(config.heads * size, d, "heads", "embed")
        self.q_norm = RMSNorm(size, None, eps=config.norm_eps, rngs=rngs)
        self.k_norm = RMSNorm(size, None, eps=config.norm_eps, rngs=rngs)
        self.mlp_norm = RMSNorm(d, "embed", eps=config.norm_eps, rngs=rngs)
        self.gate = linear(d, config.mlp, "embed", "mlp")
        self.up = linear(d, config.mlp, "embed", "mlp")
        self.down = linear(config.mlp, d, "mlp", "embed")
        self.head_dim = size

    def heads(self, x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> Heads:
        """Normed and turned queries [B, T, H, D] and keys, and values, [B, T, G, D]."""
        h = self.attention_norm(x)
        q, k, v = (self._split(f(h)) for f in (self.q, self.k, self.v))
        return embeddings.apply_rope(self.q_norm(q), angles), embeddings.apply_rope(self.k_norm(k), angles), v

    def finish(self, x: jax.Array, attended: jax.Array) -> jax.Array:
        """The rest of the layer, after attention."""
        x = x + self.o(attended.reshape(*x.shape[:2], attended.shape[2] * attended.shape[3]))
        h = self.mlp_norm(x)
        return x + self.down(jax.nn.silu(self.gate(h)) * self.up(h))

    def _split(self, x: jax.Array) -> jax.Array:
        # No −1 here: a stream may be empty.
        return x.reshape(*x.shape[:2], x.shape[2] // self.head_dim, self.head_dim)


class MoTBlock(nnx.Module):
    """One layer: both experts around a joint attention. Fresh generation weights are copies of the others."""

    def __init__(self, config: DecoderConfig, backend: str, *, rngs: nnx.Rngs):
        key = rngs.params()
        self.backend = backend
        self.und = Expert(config, rngs=nnx.Rngs(params=key))
        self.gen = Expert(config, rngs=nnx.Rngs(params=key))

    def __call__(
        self,
        und: jax.Array,
        gen: jax.Array,
        und_angles: tuple[jax.Array, jax.Array],
        gen_angles: tuple[jax.Array, jax.Array],
        spans: Spans,
        cached: Cached | None,
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Runs the layer.

        Args:
          und: [B, U, D].
          gen: [B, G, D].
          und_angles: rotary angles of ``und``.
          gen_angles: rotary angles of ``gen``.
          spans: queries and keys are ``und`` then ``gen``.
          cached: earlier keys and values, where there are any.

        Returns:
          both streams, and the keys and values of ``und`` then ``gen``, for a cache.
        """
        (q_und, *kv_und), (q_gen, *kv_gen) = self.und.heads(und, und_angles), self.gen.heads(gen, gen_angles)
        k, v = (jnp.concatenate([gather_tokens(x) for x in pair], axis=1) for pair in zip(kv_und, kv_gen, strict=True))
        split, attend = und.shape[1], functools.partial(attention, backend=self.backend)
        if splits_tokens():
            # Every device has all keys and a part of either stream's queries; joined, they would lie elsewhere.
            seen_by = (spans._replace(query=spans.query[:, :split]), spans._replace(query=spans.query[:, split:]))
            attended = [attend(q, k, v, s, cached) for q, s in zip((q_und, q_gen), seen_by, strict=True)]
        else:
            joined = attend(jnp.concatenate([q_und, q_gen], axis=1), k, v, spans, cached)
            attended = [joined[:, :split], joined[:, split:]]
        return self.und.finish(und, attended[0]), self.gen.finish(gen, attended[1]), (k, v)
