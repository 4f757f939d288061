"""Interleaved reasoning: think, generate an image, reflect, generate a better one (IRG, arXiv 2509.06945, section 3.3).

The layout of positions (``cache.py``) is

    system | without text 1 | prompt | thinking 1 | image 1 | copy of thinking 2 | without image 2
           | VAE | ViT | without text 2 | thinking 2 | image 2

where VAE and ViT are image 1 resized by the image transforms. ``image 1`` and ``image 2`` are the noised blocks under
the full context. ``without text 1`` sees the system prompt alone; ``without text 2`` sees everything but thinking 2;
``without image 2`` sees everything but VAE and ViT, with the copy of thinking 2, which no other block sees.
"""

import functools

import jax

from irg_jax.models.transformer import KVCache
from irg_jax.sampling.cache import PositionLayout
from irg_jax.sampling.decode import TextBatch
from irg_jax.sampling.denoise import Branch, Denoised
from irg_jax.sampling.primitives import Primitives, ProgramSpec, Weights


@functools.partial(jax.jit, static_argnums=0)
def first_turn(
    spec: ProgramSpec, weights: Weights, prompts: TextBatch, thinking: TextBatch | None, noise: jax.Array | None,
    keys: jax.Array,
) -> tuple[TextBatch, Denoised, jax.Array, KVCache]:  # fmt: skip
    """Thinking 1 and image 1.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      prompts: with bos and eos, padded.
      thinking: thinking 1 where it is given, padded to its slot; decoded where None.
      noise: where the flow starts, float32 [B, N, channels]; drawn from ``keys`` where None.
      keys: one random key per row.

    Returns:
      thinking 1; image 1 as latent patches; the next RoPE id, int32 [B]; the cache.
    """
    primitives, layout = Primitives(spec, weights), _layout(spec, prompts.ids.shape[1])
    guidance, grid = spec.config.turn1, spec.grid()
    cache, rope = primitives.start(layout, len(prompts.ids))
    no_text = Branch(layout.no_text1, rope, layout.view("system", "system"))
    cache = primitives.prefill_text(cache, layout.prompt, prompts.ids, prompts.length, rope)
    rope = rope + prompts.length
    if thinking is None:
        thinking, cache = primitives.decode_text(cache, layout.thinking1, rope, keys, turn=0)
    else:
        cache = primitives.prefill_text(cache, layout.thinking1, thinking.ids, thinking.length, rope)
    rope = rope + thinking.length
    full = Branch(layout.image1, rope, layout.view("system", "thinking1"))
    noise = primitives.initial_noise(keys, grid, turn=0) if noise is None else noise
    denoised = primitives.sample_image(cache, noise, grid, guidance, keys, turn=0, full=full, no_text=no_text)
    return thinking, denoised, rope, cache


@functools.partial(jax.jit, static_argnums=0, static_argnames="prompt_size", donate_argnums=2)
def second_turn(
    spec: ProgramSpec, weights: Weights, cache: KVCache, rope: jax.Array, image: jax.Array,
    thinking: TextBatch | None, noise: jax.Array | None, keys: jax.Array, *, prompt_size: int,
) -> tuple[TextBatch, Denoised, KVCache]:  # fmt: skip
    """Thinking 2 and image 2, after image 1 is prefilled.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      cache: the cache after turn 1; donated.
      rope: the next RoPE id, int32 [B].
      image: image 1, uint8 [B, H, W, 3].
      thinking: thinking 2 where it is given, padded to its slot; decoded where None.
      noise: as in ``first_turn``.
      keys: one random key per row.
      prompt_size: padded length of the prompts.

    Returns:
      thinking 2; image 2 as latent patches; the cache.
    """
    primitives, layout = Primitives(spec, weights), _layout(spec, prompt_size)
    guidance, grid = spec.config.turn2, spec.grid()
    no_image_rope = rope
    cache, rope = _prefill_image(primitives, layout, cache, rope, image)
    no_text = Branch(layout.no_text2, rope, layout.view("system", "vit"))
    if thinking is None:
        thinking, cache = primitives.decode_text(cache, layout.thinking2, rope, keys, turn=1)
    else:
        cache = primitives.prefill_text(cache, layout.thinking2, thinking.ids, thinking.length, rope)
    no_image = None
    if guidance.image_scale > 1:
        slot, end = layout.thinking2_copy, layout.no_image2.end
        cache = primitives.prefill_text(cache, slot, thinking.ids, thinking.length, no_image_rope, end)
        view = layout.view("thinking2_copy", "thinking1")
        no_image = Branch(layout.no_image2, no_image_rope + thinking.length, view)
    full = Branch(layout.image2, rope + thinking.length, layout.view("system", "thinking2"))
    noise = primitives.initial_noise(keys, grid, turn=1) if noise is None else noise
    denoised = primitives.sample_image(
        cache, noise, grid, guidance, keys, turn=1, full=full, no_text=no_text, no_image=no_image
    )
    return thinking, denoised, cache


@functools.partial(jax.jit, static_argnums=0)
def given_first_turn(
    spec: ProgramSpec, weights: Weights, prompts: TextBatch, thinking: TextBatch
) -> tuple[jax.Array, KVCache]:
    """The next RoPE id and the cache that ``first_turn`` returns for this thinking; no image is sampled."""
    primitives, layout = Primitives(spec, weights), _layout(spec, prompts.ids.shape[1])
    return _prefill_first_turn(primitives, layout, prompts, thinking)


@functools.partial(jax.jit, static_argnums=0)
def reflect(
    spec: ProgramSpec, weights: Weights, prompts: TextBatch, thinking: TextBatch, image: jax.Array, keys: jax.Array
) -> TextBatch:
    """Thinking 2 about any image 1, under the conditions of ``second_turn`` and without sampling an image.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      prompts: with bos and eos, padded.
      thinking: thinking 1, padded to its slot.
      image: image 1, uint8 [B, H, W, 3], of the size of a sampled one.
      keys: one random key per row.
    """
    primitives, layout = Primitives(spec, weights), _layout(spec, prompts.ids.shape[1])
    rope, cache = _prefill_first_turn(primitives, layout, prompts, thinking)
    cache, rope = _prefill_image(primitives, layout, cache, rope, image)
    return primitives.decode_text(cache, layout.thinking2, rope, keys, turn=1)[0]


@functools.partial(jax.jit, static_argnums=0)
def decode_latents(spec: ProgramSpec, weights: Weights, latents: jax.Array) -> jax.Array:
    """Latent patches [B, N, channels] of sampled images to pixels, uint8 [B, H, W, 3]."""
    return Primitives(spec, weights).decode_latents(latents, spec.grid())


def _prefill_first_turn(
    primitives: Primitives, layout: PositionLayout, prompts: TextBatch, thinking: TextBatch
) -> tuple[jax.Array, KVCache]:
    cache, rope = primitives.start(layout, len(prompts.ids))
    cache = primitives.prefill_text(cache, layout.prompt, prompts.ids, prompts.length, rope)
    rope = rope + prompts.length
    cache = primitives.prefill_text(cache, layout.thinking1, thinking.ids, thinking.length, rope)
    return rope + thinking.length, cache


def _prefill_image(
    primitives: Primitives, layout: PositionLayout, cache: KVCache, rope: jax.Array, image: jax.Array
) -> tuple[KVCache, jax.Array]:
    """Adds image 1, uint8 [B, H, W, 3], to the cache as turn 2 sees it: through the VAE, then through the ViT.

    Returns:
      the cache; the next RoPE id, int32 [B].
    """
    cache = primitives.prefill_vae(cache, layout.vae, rope, primitives.vae_pixels(image))
    patches, vit_grid = primitives.vit_patches(image)
    return primitives.prefill_vit(cache, layout.vit, rope + 1, patches, vit_grid), rope + 2


def _layout(spec: ProgramSpec, prompt_size: int) -> PositionLayout:
    thinking1, thinking2 = spec.config.max_thinking
    grids = spec.grid(), *map(spec.grid_after, (spec.processor.vae_transform, spec.processor.vit_transform))
    block, vae, vit = (rows * columns + 2 for rows, columns in grids)
    return PositionLayout(
        ("thinking2_copy", "system", "prompt", "thinking1", "vae", "vit", "thinking2"),
        system=len(spec.system_ids()), no_text1=block, prompt=prompt_size, thinking1=thinking1, image1=block,
        thinking2_copy=thinking2, no_image2=block, vae=vae, vit=vit, no_text2=block,
        thinking2=thinking2, image2=block,
    )  # fmt: skip
