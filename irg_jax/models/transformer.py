"""The unified transformer: interleaved text, ViT and VAE tokens, one model for training and sampling."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from irg_jax.models import embeddings
from irg_jax.models.attention.spans import CacheView, Spans
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.cpu_gradients import use_cpu_gradients
from irg_jax.models.layers import Linear, RMSNorm, param, stack_layers
from irg_jax.models.mot import MoTBlock
from irg_jax.models.remat import LAYER_INPUT, POLICIES
from irg_jax.models.vit import Connector, ViT
from irg_jax.sharding.activations import gather_tokens, split_tokens


class Stream(NamedTuple):
    """The tokens of one expert.

    Attributes:
      x: embeddings, [B, T, D] in the compute dtype.
      position: index in the row, int32 [B, T]; −1 is padding.
      rope: RoPE position id, int32 [B, T].
      start: first query position that sees the token, int32 [B, T].
      end: one past the last, int32 [B, T].
    """

    x: jax.Array
    position: jax.Array
    rope: jax.Array
    start: jax.Array
    end: jax.Array


Views = tuple[tuple[int, int], ...]


class KVCache(NamedTuple):
    """The KV cache of all layers: keys and values of earlier tokens, and which queries see them.

    Attributes:
      k: [layers, C, S, kv_heads, head_dim].
      v: likewise.
      start: span of each key, int32 [C, S].
      end: int32 [C, S].
    """

    k: jax.Array
    v: jax.Array
    start: jax.Array
    end: jax.Array


class TimeEmbedding(nnx.Module):
    """Embedding of a timestep: sinusoidal features, linear, SiLU, linear."""

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs):
        init = nnx.initializers.lecun_normal()
        self.features = features
        self.up = Linear(features, hidden, (None, "embed"), bias=True, rngs=rngs, init=init)
        self.down = Linear(hidden, hidden, (None, "embed"), bias=True, rngs=rngs, init=init)

    def __call__(self, t: jax.Array, dtype: jnp.dtype) -> jax.Array:
        return self.down(jax.nn.silu(self.up(embeddings.timestep_features(t, self.features).astype(dtype))))


class UnifiedTransformer(nnx.Module):
    """BAGEL's decoder (arXiv 2505.14683) with its embeddings and output heads.

    The caller embeds each stream (``embed_und``, ``embed_gen``), runs ``__call__``, and takes ``logits`` of the
    understanding stream and ``velocity`` of the generation stream. Either stream may be empty.
    """

    def __init__(self, config: ModelConfig, execution: ExecutionConfig, *, rngs: nnx.Rngs):
        self.config, self.execution = config, execution
        decoder = config.decoder
        d = decoder.hidden
        normal = nnx.initializers.normal(0.02)
        self.embedding = param(rngs, nnx.initializers.normal(0.5), (decoder.vocab, d), ("vocab", "embed"))
        self.vit = ViT(config.vit, execution.attention, POLICIES[execution.remat], rngs=rngs)
        self.connector = Connector(config.vit, d, rngs=rngs)
        self.time = TimeEmbedding(config.time_features, d, rngs=rngs)
        lecun, zeros = nnx.initializers.lecun_normal(), nnx.initializers.zeros
        channels = config.token_channels
        self.vae2llm = Linear(channels, d, (None, "embed"), bias=True, rngs=rngs, init=lecun)
        self.blocks = stack_layers(lambda r: MoTBlock(decoder, execution.attention, rngs=r), decoder.layers, rngs)
        self.und_norm = RMSNorm(d, "embed", eps=decoder.norm_eps, rngs=rngs)
        self.gen_norm = RMSNorm(d, "embed", eps=decoder.norm_eps, rngs=rngs)
        self.lm_head = Linear(d, decoder.vocab, ("embed", "vocab"), bias=False, rngs=rngs, init=normal)
        self.llm2vae = Linear(d, channels, ("embed", None), bias=True, rngs=rngs, init=zeros)
        if execution.gradients == "cpu":
            use_cpu_gradients(self)

    @property
    def dtype(self) -> jnp.dtype:
        """The compute dtype."""
        return jnp.dtype(self.execution.dtype)

    def vit_features(self, patches: jax.Array, pos_id: jax.Array, spans: Spans) -> jax.Array:
        """Understanding tokens of image patches: ViT and connector.

        Args:
          patches: pixels in [−1, 1], [B, P, 3·patch²].
          pos_id: row·patches_per_side + column, int32 [B, P].
          spans: each patch is visible within its own image.

        Returns:
          [B, P, D] in the compute dtype.
        """
        with jax.named_scope("vit"):
            return gather_tokens(self.connector(self.vit(patches.astype(self.dtype), pos_id, spans), pos_id))

    def embed_und(self, ids: jax.Array, vit: jax.Array, features: jax.Array) -> jax.Array:
        """Embeddings of understanding tokens.

        Args:
          ids: token ids, int32 [B, T].
          vit: index into ``features``, or −1 for text, int32 [B, T].
          features: from ``vit_features``, [B, P, D]; P may be 0 where there is no image.

        Returns:
          [B, T, D] in the compute dtype.
        """
        text = self.embedding[...].astype(self.dtype)[ids]
        if features.shape[1] == 0:
            return text
        image = jnp.take_along_axis(features, jnp.maximum(vit, 0)[..., None], axis=1)
        return jnp.where((vit >= 0)[..., None], image, text)

    def embed_gen(self, latents: jax.Array, t: jax.Array, pos_id: jax.Array) -> jax.Array:
        """Embeddings of generation tokens: latent + timestep + position.

        Args:
          latents: noised or clean latent patches, [B, T, channels].
          t: timestep of each, 0 where clean, float32 [B, T].
          pos_id: row·max_latent_size + column, int32 [B, T].

        Returns:
          [B, T, D] in the compute dtype.
        """
        position = embeddings.position_2d(pos_id, self.config.max_latent_size, self.config.decoder.hidden)
        x = self.vae2llm(latents.astype(self.dtype)) + self.time(t, self.dtype)
        return x + position.astype(self.dtype)

    def __call__(
        self, und: Stream, gen: Stream, cache: KVCache | None = None, views: Views | None = None
    ) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array] | None]:
        """Runs all layers.

        Args:
          und: understanding tokens.
          gen: generation tokens.
          cache: the KV cache in sampling, None in training; it is not changed.
          views: how rows share caches, see ``attention.spans.CacheView``; None gives each row all of its own cache.

        Returns:
          final hidden states of both streams after their norms, [B, T, D]; and, where ``cache`` is given, the new
          keys and values of ``und`` then ``gen``, [layers, B, U + G, kv_heads, head_dim] each.
        """
        decoder = self.config.decoder
        columns = ((und.position, gen.position), (und.start, gen.start), (und.end, gen.end))
        spans = Spans(*(jnp.concatenate([gather_tokens(x) for x in pair], axis=1) for pair in columns))
        angles = [embeddings.rope_angles(s.rope, decoder.head_dim, decoder.rope_theta) for s in (und, gen)]

        def layer(carry: tuple, scanned: tuple) -> tuple:
            block, cached_kv = scanned
            carry = checkpoint_name(carry, LAYER_INPUT)
            view = None
            if cache is not None:
                k, v = cached_kv
                view = CacheView(k, v, cache.start, cache.end, views or ((0, cache.start.shape[1]),))
            und_x, gen_x, new_kv = block(*carry, *angles, spans, view)
            return (split_tokens(und_x), split_tokens(gen_x)), (new_kv if cache is not None else None)

        # A loop's body cannot be merged with the loop of the backward pass, so what prevents that is not needed.
        layer = jax.checkpoint(layer, policy=POLICIES[self.execution.remat], prevent_cse=False)
        cached_kv = (cache.k, cache.v) if cache is not None else None
        (und_x, gen_x), new_kv = jax.lax.scan(layer, (und.x, gen.x), (self.blocks, cached_kv))
        return self.und_norm(und_x), self.gen_norm(gen_x), new_kv

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Next-token logits, float32 [B, T, vocab], of understanding tokens' final hidden states [B, T, D]."""
        return self.lm_head(hidden).astype(jnp.float32)

    def velocity(self, hidden: jax.Array) -> jax.Array:
        """Predicted velocity, float32 [B, T, channels], of generation tokens' final hidden states [B, T, D]."""
        return self.llm2vae(hidden).astype(jnp.float32)


def abstract_model(config: ModelConfig, execution: ExecutionConfig | None = None) -> tuple[nnx.GraphDef, nnx.State]:
    """The graphdef of a model and the shapes of its weights; nothing is allocated. ``execution`` changes no shape."""
    execution = execution or ExecutionConfig()
    return nnx.split(nnx.eval_shape(lambda: UnifiedTransformer(config, execution, rngs=nnx.Rngs(params=0))), nnx.Param)
