"""The mixture-of-transformers block: two experts and one joint attention (BAGEL, arXiv 2505.14683, section 2).

Understanding tokens and generation tokens are separate arrays, so that each expert is a dense matmul over its own
tokens and no token is computed by both. Only attention is joint, and there the order of tokens is data.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.models import embeddings
from irg_jax.models.attention import attention
from irg_jax.models.attention.spans import CacheView, Spans
from irg_jax.models.config import DecoderConfig
from irg_jax.models.layers import Linear, RMSNorm
from irg_jax.sharding.activations import gather_tokens, splits_tokens

_kernel = nnx.initializers.lecun_normal()

QKV = tuple[jax.Array, jax.Array, jax.Array]


class Expert(nnx.Module):
    """One expert of a layer: a full set of its weights, applied to the expert's own tokens."""

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        d, size = config.hidden, config.head_dim

        # Projections into the residual stream start small, so that the token embedding still dominates in deep layers.
        residual_init = nnx.initializers.variance_scaling(0.5 / config.layers, "fan_in", "normal")

        def linear(n_in: int, n_out: int, in_axis: str, out_axis: str, bias: bool = False) -> Linear:
            init = residual_init if out_axis == "embed" else _kernel
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

    def qkv(self, x: jax.Array, angles: tuple[jax.Array, jax.Array]) -> QKV:
        """Queries [B, T, H, D] and keys, both after QK norm and RoPE, and values, [B, T, G, D]."""
        h = self.attention_norm(x)
        q, k, v = (self._split_heads(f(h)) for f in (self.q, self.k, self.v))
        return embeddings.apply_rope(self.q_norm(q), angles), embeddings.apply_rope(self.k_norm(k), angles), v

    def out_and_mlp(self, x: jax.Array, heads: jax.Array) -> jax.Array:
        """The rest of the layer: ``x`` [B, T, D] after the output projection of the attention heads and the MLP."""
        x = x + self.o(heads.reshape(*x.shape[:2], heads.shape[2] * heads.shape[3]))
        h = self.mlp_norm(x)
        return x + self.down(jax.nn.silu(self.gate(h)) * self.up(h))

    def _split_heads(self, x: jax.Array) -> jax.Array:
        # Not −1, which fails for an empty stream.
        return x.reshape(*x.shape[:2], x.shape[2] // self.head_dim, self.head_dim)


class MoTBlock(nnx.Module):
    """One layer: both experts around a joint attention. Both are initialized with the same weights."""

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
        cache: CacheView | None,
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
        """Runs the layer.

        Args:
          und: [B, U, D].
          gen: [B, G, D].
          und_angles: rotary angles of ``und``.
          gen_angles: rotary angles of ``gen``.
          spans: visibility; queries and keys are those of ``und``, then those of ``gen``.
          cache: this layer's KV cache, None in training.

        Returns:
          both streams, and the keys and values of ``und`` then ``gen``, for the cache.
        """
        (q_und, *kv_und), (q_gen, *kv_gen) = self.und.qkv(und, und_angles), self.gen.qkv(gen, gen_angles)
        k, v = (jnp.concatenate([gather_tokens(x) for x in pair], axis=1) for pair in zip(kv_und, kv_gen, strict=True))
        split, attend = und.shape[1], functools.partial(attention, backend=self.backend)
        if splits_tokens():
            # Every device has all keys and a shard of each stream's queries; concatenated, they would be resharded.
            by_stream = (spans._replace(query=spans.query[:, :split]), spans._replace(query=spans.query[:, split:]))
            heads = [attend(q, k, v, s, cache) for q, s in zip((q_und, q_gen), by_stream, strict=True)]
        else:
            joint = attend(jnp.concatenate([q_und, q_gen], axis=1), k, v, spans, cache)
            heads = [joint[:, :split], joint[:, split:]]
        return self.und.out_and_mlp(und, heads[0]), self.gen.out_and_mlp(gen, heads[1]), (k, v)
