"""The image encoder: a NaViT over packed patches (SigLIP2, as in BAGEL); each image attends only to itself."""

from collections.abc import Callable

import jax
from flax import nnx

from irg_jax.models import embeddings
from irg_jax.models.attention import attention
from irg_jax.models.attention.spans import Spans
from irg_jax.models.config import ViTConfig
from irg_jax.models.layers import LayerNorm, Linear, param, stack_layers

_kernel = nnx.initializers.lecun_normal()


class ViTBlock(nnx.Module):
    """A layer: pre-norm attention and MLP, every linear layer with a bias."""

    def __init__(self, config: ViTConfig, backend: str, *, rngs: nnx.Rngs):
        d = config.hidden

        def linear(n_in: int, n_out: int, in_axis: str, out_axis: str) -> Linear:
            return Linear(n_in, n_out, (in_axis, out_axis), bias=True, rngs=rngs, init=_kernel)

        self.norm1 = LayerNorm(d, "vit_embed", eps=config.norm_eps, rngs=rngs)
        self.q = linear(d, d, "vit_embed", "vit_heads")
        self.k = linear(d, d, "vit_embed", "vit_heads")
        self.v = linear(d, d, "vit_embed", "vit_heads")
        self.o = linear(d, d, "vit_heads", "vit_embed")
        self.norm2 = LayerNorm(d, "vit_embed", eps=config.norm_eps, rngs=rngs)
        self.up = linear(d, config.mlp, "vit_embed", "vit_mlp")
        self.down = linear(config.mlp, d, "vit_mlp", "vit_embed")
        self.heads, self.backend = config.heads, backend

    def __call__(self, x: jax.Array, spans: Spans) -> jax.Array:
        batch, tokens, d = x.shape
        h = self.norm1(x)
        q, k, v = (f(h).reshape(batch, tokens, self.heads, d // self.heads) for f in (self.q, self.k, self.v))
        x = x + self.o(attention(q, k, v, spans, backend=self.backend).reshape(batch, tokens, d))
        return x + self.down(jax.nn.gelu(self.up(self.norm2(x)), approximate=True))


class ViT(nnx.Module):
    """Patches to features, with an attention ``backend`` and a remat ``policy`` (``remat.POLICIES``)."""

    def __init__(self, config: ViTConfig, backend: str, policy: Callable[..., bool], *, rngs: nnx.Rngs):
        d = config.hidden
        self.policy = policy
        self.patch = Linear(3 * config.patch**2, d, (None, "vit_embed"), bias=True, rngs=rngs, init=_kernel)
        table = (config.patches_per_side**2, d)
        self.position = param(rngs, nnx.initializers.normal(0.02), table, (None, "vit_embed"))
        self.blocks = stack_layers(lambda r: ViTBlock(config, backend, rngs=r), config.layers, rngs)
        self.norm = LayerNorm(d, "vit_embed", eps=config.norm_eps, rngs=rngs)

    def __call__(self, patches: jax.Array, pos_id: jax.Array, spans: Spans) -> jax.Array:
        """Features of packed patches.

        Args:
          patches: pixels in [−1, 1], [B, P, 3·patch²], in the compute dtype.
          pos_id: row·patches_per_side + column of each patch, int32 [B, P].
          spans: each patch is visible within its own image.

        Returns:
          [B, P, hidden].
        """
        x = self.patch(patches) + self.position[...][pos_id].astype(patches.dtype)
        # prevent_cse=False: the loops of the forward and of the backward pass cannot be merged.
        layer = jax.checkpoint(lambda x, block: (block(x, spans), None), policy=self.policy, prevent_cse=False)
        return self.norm(jax.lax.scan(layer, x, self.blocks)[0])


class Connector(nnx.Module):
    """ViT features to the decoder's width: linear, GELU, linear, plus a fixed 2-D position embedding."""

    def __init__(self, config: ViTConfig, hidden: int, *, rngs: nnx.Rngs):
        self.up = Linear(config.hidden, hidden, ("vit_embed", "mlp"), bias=True, rngs=rngs, init=_kernel)
        self.down = Linear(hidden, hidden, ("mlp", "embed"), bias=True, rngs=rngs, init=_kernel)
        self.side = config.patches_per_side

    def __call__(self, features: jax.Array, pos_id: jax.Array) -> jax.Array:
        y = self.down(jax.nn.gelu(self.up(features), approximate=True))
        return y + embeddings.position_2d(pos_id, self.side, y.shape[-1]).astype(y.dtype)
