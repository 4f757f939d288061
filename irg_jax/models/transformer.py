"""The unified transformer: text, ViT and VAE tokens interleaved, one model for training and for sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from irg_jax.models import embeddings
from irg_jax.models.attention.spans import Cached, Spans
from irg_jax.models.config import LAYER_INPUT, REMAT, ModelConfig
from irg_jax.models.mot import MoTBlock
from irg_jax.models.param import Linear, RMSNorm, param, stack_layers
from irg_jax.models.placement import gather_tokens, split_tokens
from irg_jax.models.vit import Connector, ViT


class Stream(NamedTuple):
    """Tokens of one expert.

    Attributes:
      x: embeddings, [B, T, D] in the compute dtype.
      position: place in the row, int32 [B, T]; −1 is padding.
      rope: rotary id, int32 [B, T].
      start: first query position that sees the token, int32 [B, T].
      end: one past the last, int32 [B, T].
    """

    x: jax.Array
    position: jax.Array
    rope: jax.Array
    start: jax.Array
    end: jax.Array


Views = tuple[tuple[int, int], ...]


class Past(NamedTuple):
    """Keys and values of tokens that were run before.

    Attributes:
      k: [layers, C, S, kv_heads, head_dim].
      v: likewise.
      start: span of each, int32 [C, S].
      end: int32 [C, S].
    """

    k: jax.Array
    v: jax.Array
    start: jax.Array
    end: jax.Array


class TimeEmbedding(nnx.Module):
    """A flow time to a vector: sin-cos features, linear, SiLU, linear."""

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs):
        init = nnx.initializers.lecun_normal()
        self.features = features
        self.up = Linear(features, hidden, (None, "embed"), bias=True, rngs=rngs, init=init)
        self.down = Linear(hidden, hidden, (None, "embed"), bias=True, rngs=rngs, init=init)

    def __call__(self, t: jax.Array, dtype: jnp.dtype) -> jax.Array:
        return self.down(jax.nn.silu(self.up(embeddings.timestep_features(t, self.features).astype(dtype))))


class UnifiedTransformer(nnx.Module):
    """BAGEL's decoder with its embeddings and heads (irg.md §3–4).

    The caller embeds each stream (``embed_und``, ``embed_gen``), runs ``__call__``, and reads ``logits`` off the
    understanding stream and ``velocity`` off the generation stream. Either stream may be empty.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        decoder = config.decoder
        d = decoder.hidden
        normal = nnx.initializers.normal(0.02)
        self.embedding = param(rngs, nnx.initializers.normal(0.5), (decoder.vocab, d), ("vocab", "embed"))
        self.vit = ViT(config.vit, config.attention, REMAT[config.remat], rngs=rngs)
        self.connector = Connector(config.vit, d, rngs=rngs)
        self.time = TimeEmbedding(config.time_features, d, rngs=rngs)
        lecun, zeros = nnx.initializers.lecun_normal(), nnx.initializers.zeros
        channels = config.token_channels
        self.vae2llm = Linear(channels, d, (None, "embed"), bias=True, rngs=rngs, init=lecun)
        self.blocks = stack_layers(lambda r: MoTBlock(decoder, config.attention, rngs=r), decoder.layers, rngs)
        self.und_norm = RMSNorm(d, "embed", eps=decoder.norm_eps, rngs=rngs)
        self.gen_norm = RMSNorm(d, "embed", eps=decoder.norm_eps, rngs=rngs)
        self.lm_head = Linear(d, decoder.vocab, ("embed", "vocab"), bias=False, rngs=rngs, init=normal)
        self.llm2vae = Linear(d, channels, ("embed", None), bias=True, rngs=rngs, init=zeros)

    @property
    def dtype(self) -> jnp.dtype:
        """The compute type."""
        return jnp.dtype(self.config.dtype)

    def vit_features(self, patches: jax.Array, place: jax.Array, spans: Spans) -> jax.Array:
        """Understanding tokens of image patches, before they join the text.

        Args:
          patches: pixels in [−1, 1], [B, P, 3·patch²].
          place: row·patches_per_side + column, int32 [B, P].
          spans: each patch is visible within its own image.

        Returns:
          [B, P, D] in the compute dtype.
        """
        with jax.named_scope("vit"):
            return gather_tokens(self.connector(self.vit(patches.astype(self.dtype), place, spans), place))

    def embed_und(self, ids: jax.Array, vit: jax.Array, features: jax.Array) -> jax.Array:
        """Embeddings of understanding tokens.

        Args:
          ids: token ids, int32 [B, T].
          vit: index into ``features``, or −1 for text, int32 [B, T].
          features: of ``vit_features``, [B, P, D]; P may be 0 where no token is an image's.

        Returns:
          [B, T, D] in the compute dtype.
        """
        text = self.embedding[...].astype(self.dtype)[ids]
        if features.shape[1] == 0:
            return text
        image = jnp.take_along_axis(features, jnp.maximum(vit, 0)[..., None], axis=1)
        return jnp.where((vit >= 0)[..., None], image, text)

    def embed_gen(self, latents: jax.Array, t: jax.Array, place: jax.Array) -> jax.Array:
        """Embeddings of generation tokens: latent + time + place.

        Args:
          latents: noised or clean latent patches, [B, T, channels].
          t: flow time of each, 0 where clean, float32 [B, T].
          place: row·max_latent_size + column, int32 [B, T].

        Returns:
          [B, T, D] in the compute dtype.
        """
        position = embeddings.position_2d(place, self.config.max_latent_size, self.config.decoder.hidden)
        x = self.vae2llm(latents.astype(self.dtype)) + self.time(t, self.dtype)
        return x + position.astype(self.dtype)

    def __call__(
        self, und: Stream, gen: Stream, past: Past | None = None, views: Views | None = None
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array] | None]:
        """Runs all layers.

        Args:
          und: understanding tokens.
          gen: generation tokens.
          past: earlier keys and values, where sampling has cached them.
          views: how rows share them, see ``attention.Cached``; None gives each row its own cache, whole.

        Returns:
          final hidden states of both streams after their norms, [B, T, D]; and, where ``past`` is given, keys and
          values of ``und`` then ``gen``, [layers, B, U + G, kv_heads, head_dim] each.
        """
        decoder = self.config.decoder
        columns = ((und.position, gen.position), (und.start, gen.start), (und.end, gen.end))
        spans = Spans(*(jnp.concatenate([gather_tokens(x) for x in pair], axis=1) for pair in columns))
        angles = [embeddings.rope_angles(s.rope, decoder.head_dim, decoder.rope_theta) for s in (und, gen)]

        def layer(carry: tuple, scanned: tuple) -> tuple:
            block, earlier = scanned
            carry = checkpoint_name(carry, LAYER_INPUT)
            cached = None
            if past is not None:
                cached = Cached(earlier[0], earlier[1], past.start, past.end, views or ((0, past.start.shape[1]),))
            und_x, gen_x, fresh = block(*carry, *angles, spans, cached)
            return (split_tokens(und_x), split_tokens(gen_x)), (fresh if past is not None else None)

        layer = jax.checkpoint(layer, policy=REMAT[self.config.remat])
        earlier = (past.k, past.v) if past is not None else None
        (und_x, gen_x), fresh = jax.lax.scan(layer, (und.x, gen.x), (self.blocks, earlier))
        return self.und_norm(und_x), self.gen_norm(gen_x), fresh

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Next-token logits, float32 [B, T, vocab], off the understanding stream."""
        return self.lm_head(hidden).astype(jnp.float32)

    def velocity(self, hidden: jax.Array) -> jax.Array:
        """Predicted velocity, float32 [B, T, channels], off the generation stream."""
        return self.llm2vae(hidden).astype(jnp.float32)
