"""What every context is made of: read a text, look at a picture, write a text, paint a picture."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.data.images import ImageTransform
from irg_jax.data.layout import Vocabulary
from irg_jax.models import autoencoder as ae
from irg_jax.models.attention.spans import Spans
from irg_jax.models.transformer import Past
from irg_jax.sampling import cache, flow, text
from irg_jax.sampling.cache import FAR, Line, Region
from irg_jax.sampling.guidance import Guidance
from irg_jax.sampling.settings import Sampling
from irg_jax.sampling.text import Written

Grid = tuple[int, int]  # rows and columns of patches


@dataclasses.dataclass(frozen=True)
class Weights:
    """What is on the devices.

    Attributes:
      params: of the transformer.
      autoencoder: from pixels to latents and back.
    """

    params: nnx.State
    autoencoder: Any


jax.tree_util.register_dataclass(Weights, ["params", "autoencoder"], [])


@dataclasses.dataclass(frozen=True, eq=False)
class Setting:
    """What every sampling program is compiled for; compared by identity.

    Attributes:
      graphdef: the model's structure.
      vocabulary: tokenizer and image transforms.
      sampling: lengths, times, guidance.
    """

    graphdef: nnx.GraphDef
    vocabulary: Vocabulary
    sampling: Sampling

    def system_ids(self) -> tuple[int, ...]:
        """The system prompt with bos and eos; empty without one."""
        tokens, system = self.vocabulary.tokenizer, self.sampling.system_prompt
        return (tokens.bos, *tokens.encode(system), tokens.eos) if system else ()

    def grid(self, transform: ImageTransform) -> Grid:
        """Of a picture that is painted."""
        height, width = self.sampling.image_size
        return transform.grid(width, height)


class Steps:
    """The steps of one traced program: each takes the cache and gives it back with what is new."""

    def __init__(self, setting: Setting, weights: Weights):
        self.setting = setting
        self.model = nnx.merge(setting.graphdef, weights.params)
        self.autoencoder = weights.autoencoder
        tokens = setting.vocabulary.tokenizer
        self.edges = tokens.vision_start, tokens.vision_end

    def begin(self, line: Line, batch: int) -> tuple[Past, jax.Array]:
        """A cache that holds the system prompt (region ``system``), and the next rotary id, int32 [B]."""
        past, rope = cache.empty(self.model, batch, line.slots), jnp.zeros((batch,), jnp.int32)
        ids = self.setting.system_ids()
        if ids:
            system = jnp.broadcast_to(jnp.array(ids, jnp.int32), (batch, len(ids)))
            past = self.read(past, line.system, system, jnp.full((batch,), len(ids)), rope)
        return past, rope + len(ids)

    def read(
        self, past: Past, region: Region, ids: jax.Array, lengths: jax.Array, rope: jax.Array, end: int = FAR
    ) -> Past:
        """Reads texts.

        Args:
          past: the cache.
          region: where they go.
          ids: with bos and eos, padded, int32 [B, T].
          lengths: tokens in use, int32 [B].
          rope: of bos, int32 [B].
          end: the position from which on they are not seen.
        """
        valid = jnp.arange(ids.shape[1]) < lengths[:, None]
        stream = cache.text_stream(self.model, ids, valid, region.position, rope, end)
        return cache.run(self.model, past, stream, cache.no_tokens(self.model, len(ids)), region.slot)[1]

    def write(self, past: Past, region: Region, rope: jax.Array, keys: jax.Array, turn: int) -> tuple[Written, Past]:
        """Writes texts that start at ``rope``; ``turn`` and ``keys`` [B] decide what is drawn."""
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 2 * turn)
        tokens, temperature = self.setting.vocabulary.tokenizer, self.setting.sampling.temperature
        return text.write(self.model, past, region, rope, keys, tokenizer=tokens, temperature=temperature)

    def look_vae(self, past: Past, region: Region, rope: jax.Array, pictures: jax.Array) -> Past:
        """Looks at pictures, uint8 [B, H, W, 3], as clean latents."""
        config = self.model.config
        latents = ae.to_tokens(self.autoencoder.encode(ae.to_unit(pictures)), config.latent_patch)
        batch, rows, columns, channels = latents.shape
        place = jnp.broadcast_to(_places((rows, columns), config.max_latent_size), (batch, rows * columns))
        latents = latents.reshape(batch, rows * columns, channels)
        inner = self.model.embed_gen(latents, jnp.zeros(latents.shape[:2]), place)
        edges, gen = cache.block_streams(self.model, self.edges, inner, region.position, rope, FAR)
        return cache.run(self.model, past, edges, gen, region.slot)[1]

    def look_vit(self, past: Past, region: Region, rope: jax.Array, patches: jax.Array, grid: Grid) -> Past:
        """Looks at pictures as ViT patches, uint8 [B, rows·columns, 3·patch²]."""
        batch, count, _ = patches.shape
        place = jnp.broadcast_to(_places(grid, self.model.config.vit.patches_per_side), (batch, count))
        everywhere = jnp.zeros((batch, count), jnp.int32)
        features = self.model.vit_features(ae.to_unit(patches), place, Spans(everywhere, everywhere, everywhere + 1))
        edges, seen = cache.block_streams(self.model, self.edges, features, region.position, rope, FAR)
        return cache.run(self.model, past, cache.join(edges, seen), cache.no_tokens(self.model, batch), region.slot)[1]

    def noise(self, keys: jax.Array, grid: Grid, turn: int) -> jax.Array:
        """Where the flow of each picture starts, float32 [B, rows·columns, channels]; ``keys`` and ``turn`` decide."""
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys, 2 * turn + 1)
        shape = (grid[0] * grid[1], self.model.config.token_channels)
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)

    def paint(
        self, past: Past, noise: jax.Array, grid: Grid, guidance: Guidance, *, full: flow.Branch,
        no_text: flow.Branch, no_image: flow.Branch | None = None,
    ) -> jax.Array:  # fmt: skip
        """Paints pictures from ``noise``, latent patches [B, rows·columns, channels]; see ``flow.paint``."""
        config, sampling = self.model.config, self.setting.sampling
        return flow.paint(
            self.model, past, noise, full=full, no_text=no_text, no_image=no_image, guidance=guidance,
            edges=self.edges, place=_places(grid, config.max_latent_size), points=sampling.time_points,
            shift=sampling.timestep_shift,
        )  # fmt: skip

    def decode(self, tokens: jax.Array, grid: Grid) -> jax.Array:
        """Latent patches [B, rows·columns, channels] to pictures, uint8 [B, H, W, 3]."""
        tokens = tokens.reshape(len(tokens), *grid, tokens.shape[-1])
        return ae.to_bytes(self.autoencoder.decode(ae.from_tokens(tokens, self.model.config.latent_patch)))


def _places(grid: Grid, side: int) -> jax.Array:
    return (jnp.arange(grid[0])[:, None] * side + jnp.arange(grid[1])).reshape(-1)
