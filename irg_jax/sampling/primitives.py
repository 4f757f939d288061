"""The steps that all sampling programs are made of: prefill text and images, decode text, sample an image."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.data.images import ImageTransform
from irg_jax.data.processor import Processor
from irg_jax.models.attention.spans import Spans
from irg_jax.models.transformer import KVCache
from irg_jax.models.vae.latents import patchify, to_bytes, to_unit, unpatchify
from irg_jax.sampling import cache as kv
from irg_jax.sampling.cache import FAR, PositionLayout, Slot
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.decode import TextBatch, decode_text
from irg_jax.sampling.denoise import Branch, Denoised, denoise
from irg_jax.sampling.flow_step import FlowStep, euler_step
from irg_jax.sampling.guidance import Guidance
from irg_jax.sampling.resize import resize_bicubic

Grid = tuple[int, int]  # rows and columns of patches
TURNS = 2  # that the model is trained for


@dataclasses.dataclass(frozen=True)
class Weights:
    """The arrays that a sampling program takes.

    Attributes:
      params: of the transformer.
      vae: from pixels to latents and back.
    """

    params: nnx.State
    vae: Any


jax.tree_util.register_dataclass(Weights, ["params", "vae"], [])


@dataclasses.dataclass(frozen=True, eq=False)
class ProgramSpec:
    """What every sampling program is compiled for: a static argument of ``jax.jit``, compared by identity.

    Attributes:
      graphdef: the model's structure.
      processor: tokenizer and image transforms.
      config: lengths, timesteps, guidance.
      flow_step: from one time point of an image to the next.
    """

    graphdef: nnx.GraphDef
    processor: Processor
    config: SamplingConfig
    flow_step: FlowStep = euler_step

    def system_ids(self) -> tuple[int, ...]:
        """Token ids of the system prompt with bos and eos; empty without one."""
        tokenizer, system = self.processor.tokenizer, self.config.system_prompt
        return (tokenizer.bos, *tokenizer.encode(system), tokenizer.eos) if system else ()

    def grid(self) -> Grid:
        """(rows, columns) of latent patches of a sampled image."""
        height, width = self.config.image_size
        stride = self.processor.vae_transform.stride
        return height // stride, width // stride

    def grid_after(self, transform: ImageTransform) -> Grid:
        """(rows, columns) of patches of a sampled image once the transform has resized it."""
        height, width = self.config.image_size
        return transform.grid(width, height)


class Primitives:
    """The steps of one traced program. Those that add to the KV cache return the new one."""

    def __init__(self, spec: ProgramSpec, weights: Weights):
        self.spec = spec
        self.model = nnx.merge(spec.graphdef, weights.params)
        self.vae = weights.vae
        tokenizer = spec.processor.tokenizer
        self.delimiters = tokenizer.vision_start, tokenizer.vision_end

    def start(self, layout: PositionLayout, batch: int) -> tuple[KVCache, jax.Array]:
        """A new cache with the system prompt (slot ``system``) prefilled, and the next RoPE id, int32 [B]."""
        cache, rope = kv.empty_cache(self.model, batch, layout.cache_size), jnp.zeros((batch,), jnp.int32)
        ids = self.spec.system_ids()
        if ids:
            system = jnp.broadcast_to(jnp.array(ids, jnp.int32), (batch, len(ids)))
            cache = self.prefill_text(cache, layout.system, system, jnp.full((batch,), len(ids)), rope)
        return cache, rope + len(ids)

    def prefill_text(
        self, cache: KVCache, slot: Slot, ids: jax.Array, lengths: jax.Array, rope: jax.Array, end: int = FAR
    ) -> KVCache:
        """Adds texts to the cache.

        Args:
          cache: the cache.
          slot: where they go.
          ids: with bos and eos, padded, int32 [B, T].
          lengths: tokens without padding, int32 [B].
          rope: RoPE id of bos, int32 [B].
          end: the position from which on they are not visible.
        """
        valid = jnp.arange(ids.shape[1]) < lengths[:, None]
        stream = kv.text_stream(self.model, ids, valid, slot.position, rope, end)
        return kv.forward(self.model, cache, stream, kv.empty_stream(self.model, len(ids)), slot.cache_index)[1]

    def decode_text(
        self, cache: KVCache, slot: Slot, rope: jax.Array, keys: jax.Array, turn: int
    ) -> tuple[TextBatch, KVCache]:
        """Decodes texts whose bos has the RoPE id ``rope``; random numbers come from ``keys`` [B] and ``turn``."""
        keys = _stream(keys, 2 * turn)
        tokenizer, temperature = self.spec.processor.tokenizer, self.spec.config.temperature
        return decode_text(self.model, cache, slot, rope, keys, tokenizer=tokenizer, temperature=temperature)

    def prefill_vae(self, cache: KVCache, slot: Slot, rope: jax.Array, images: jax.Array) -> KVCache:
        """Adds images, uint8 [B, H, W, 3], to the cache as clean VAE latents."""
        config = self.model.config
        latents = patchify(self.vae.encode(to_unit(images)), config.latent_patch)
        batch, rows, columns, channels = latents.shape
        pos_id = jnp.broadcast_to(_pos_ids((rows, columns), config.max_latent_size), (batch, rows * columns))
        latents = latents.reshape(batch, rows * columns, channels)
        embedded = self.model.embed_gen(latents, jnp.zeros(latents.shape[:2]), pos_id)
        und, gen = kv.block_streams(self.model, self.delimiters, embedded, slot.position, rope, FAR)
        return kv.forward(self.model, cache, und, gen, slot.cache_index)[1]

    def prefill_vit(self, cache: KVCache, slot: Slot, rope: jax.Array, patches: jax.Array, grid: Grid) -> KVCache:
        """Adds images as ViT patches, uint8 [B, rows·columns, 3·patch²], to the cache."""
        batch, count, _ = patches.shape
        pos_id = jnp.broadcast_to(_pos_ids(grid, self.model.config.vit.patches_per_side), (batch, count))
        zeros = jnp.zeros((batch, count), jnp.int32)  # every patch of an image sees every other
        features = self.model.vit_features(to_unit(patches), pos_id, Spans(zeros, zeros, zeros + 1))
        streams = kv.block_streams(self.model, self.delimiters, features, slot.position, rope, FAR)
        und, gen = kv.concatenate(*streams), kv.empty_stream(self.model, batch)
        return kv.forward(self.model, cache, und, gen, slot.cache_index)[1]

    def initial_noise(self, keys: jax.Array, grid: Grid, turn: int) -> jax.Array:
        """Noise that each image starts from, float32 [B, rows·columns, channels], drawn from ``keys`` and ``turn``."""
        keys = _stream(keys, 2 * turn + 1)
        shape = (grid[0] * grid[1], self.model.config.token_channels)
        return jax.vmap(lambda key: jax.random.normal(key, shape))(keys)

    def sample_image(
        self, cache: KVCache, noise: jax.Array, grid: Grid, guidance: Guidance, keys: jax.Array, turn: int, *,
        full: Branch, no_text: Branch, no_image: Branch | None = None,
    ) -> Denoised:  # fmt: skip
        """Denoises ``noise``, [B, rows·columns, channels]; see ``denoise.denoise``.

        Random numbers of the flow step come from ``keys`` [B] and ``turn``.
        """
        config = self.spec.config
        return denoise(
            self.model, cache, noise, full=full, no_text=no_text, no_image=no_image, guidance=guidance,
            delimiters=self.delimiters, pos_id=_pos_ids(grid, self.model.config.max_latent_size),
            points=config.time_points, shift=config.timestep_shift, step=self.spec.flow_step,
            keys=_stream(keys, 2 * TURNS + turn),
        )  # fmt: skip

    def vae_pixels(self, images: jax.Array) -> jax.Array:
        """Sampled images, uint8 [B, H, W, 3], as ``prefill_vae`` takes them: at the size of the VAE's transform.

        The released code resizes them too, which changes those whose size is not one that the transform returns.
        """
        return _resized(images, self.spec.processor.vae_transform)

    def vit_patches(self, images: jax.Array) -> tuple[jax.Array, Grid]:
        """Sampled images, uint8 [B, H, W, 3], as ``prefill_vit`` takes them, and rows and columns of patches."""
        transform = self.spec.processor.vit_transform
        patches = patchify(_resized(images, transform), transform.stride)
        batch, rows, columns, channels = patches.shape
        return patches.reshape(batch, rows * columns, channels), (rows, columns)

    def decode_latents(self, tokens: jax.Array, grid: Grid) -> jax.Array:
        """Latent patches [B, rows·columns, channels] to images, uint8 [B, H, W, 3]."""
        tokens = tokens.reshape(len(tokens), *grid, tokens.shape[-1])
        return to_bytes(self.vae.decode(unpatchify(tokens, self.model.config.latent_patch)))


def _stream(keys: jax.Array, number: int) -> jax.Array:
    """Keys of one use: a turn's text is 2·turn, its noise 2·turn + 1, its flow steps 2·TURNS + turn."""
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def _resized(images: jax.Array, transform: ImageTransform) -> jax.Array:
    width, height = transform.size(images.shape[2], images.shape[1])
    return resize_bicubic(images, height, width)


def _pos_ids(grid: Grid, side: int) -> jax.Array:
    return (jnp.arange(grid[0])[:, None] * side + jnp.arange(grid[1])).reshape(-1)
