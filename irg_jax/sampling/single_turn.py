"""Image understanding, text to image and image editing: the primitives of two-turn reasoning in other contexts.

Their layouts of positions (``cache.py``), the contexts of each branch in docs/method.md:

    answer:         system | ViT | question | answer
    text_to_image:  system | without text | prompt | image
    edit:           system | copy of the prompt | without image | VAE | ViT | without text | prompt | image
"""

import functools

import jax

from irg_jax.sampling.cache import PositionLayout
from irg_jax.sampling.decode import TextBatch
from irg_jax.sampling.denoise import Branch
from irg_jax.sampling.primitives import Grid, Primitives, ProgramSpec, Weights


@functools.partial(jax.jit, static_argnums=0, static_argnames="vit_grid")
def answer(
    spec: ProgramSpec, weights: Weights, patches: jax.Array, questions: TextBatch, keys: jax.Array, *, vit_grid: Grid
) -> TextBatch:
    """Answers questions about images, which are seen through the ViT alone.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      patches: uint8 [B, rows·columns, 3·patch²].
      questions: with bos and eos, padded.
      keys: one random key per row.
      vit_grid: rows and columns of ViT patches.
    """
    layout = PositionLayout(
        ("system", "vit", "question", "answer"), system=len(spec.system_ids()), vit=vit_grid[0] * vit_grid[1] + 2,
        question=questions.ids.shape[1], answer=spec.config.max_thinking[0],
    )  # fmt: skip
    primitives = Primitives(spec, weights)
    cache, rope = primitives.start(layout, len(patches))
    cache = primitives.prefill_vit(cache, layout.vit, rope, patches, vit_grid)
    cache = primitives.prefill_text(cache, layout.question, questions.ids, questions.length, rope + 1)
    return primitives.decode_text(cache, layout.answer, rope + 1 + questions.length, keys, turn=0)[0]


@functools.partial(jax.jit, static_argnums=0)
def text_to_image(spec: ProgramSpec, weights: Weights, prompts: TextBatch, keys: jax.Array) -> jax.Array:
    """Samples images for prompts without thinking, with the guidance of turn 1.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      prompts: with bos and eos, padded.
      keys: one random key per row.

    Returns:
      uint8 [B, H, W, 3].
    """
    grid = spec.grid()
    block = grid[0] * grid[1] + 2
    layout = PositionLayout(
        ("system", "prompt"), system=len(spec.system_ids()), no_text=block, prompt=prompts.ids.shape[1], image=block
    )
    primitives = Primitives(spec, weights)
    cache, rope = primitives.start(layout, len(prompts.ids))
    cache = primitives.prefill_text(cache, layout.prompt, prompts.ids, prompts.length, rope)
    full = Branch(layout.image, rope + prompts.length, layout.view("system", "prompt"))
    no_text = Branch(layout.no_text, rope, layout.view("system", "system"))
    noise = primitives.initial_noise(keys, grid, turn=0)
    guidance = spec.config.turn1
    denoised = primitives.sample_image(cache, noise, grid, guidance, keys, turn=0, full=full, no_text=no_text)
    return primitives.decode_latents(denoised.latents, grid)


@functools.partial(jax.jit, static_argnums=0, static_argnames=("grid", "vit_grid"))
def edit(
    spec: ProgramSpec, weights: Weights, images: jax.Array, patches: jax.Array, prompts: TextBatch, keys: jax.Array, *,
    grid: Grid, vit_grid: Grid,
) -> jax.Array:  # fmt: skip
    """Edits images as prompts say, with the guidance of turn 2: away from no prompt, and from no image.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      images: uint8 [B, H, W, 3], at the VAE's size.
      patches: uint8 [B, rows·columns, 3·patch²], at the ViT's size.
      prompts: with bos and eos, padded.
      keys: one random key per row.
      grid: rows and columns of latent patches.
      vit_grid: rows and columns of ViT patches.

    Returns:
      uint8 [B, H, W, 3].
    """
    block, size = grid[0] * grid[1] + 2, prompts.ids.shape[1]
    layout = PositionLayout(
        ("prompt_copy", "system", "vae", "vit", "prompt"), system=len(spec.system_ids()), prompt_copy=size,
        no_image=block, vae=block, vit=vit_grid[0] * vit_grid[1] + 2, no_text=block, prompt=size, image=block,
    )  # fmt: skip
    primitives = Primitives(spec, weights)
    cache, rope = primitives.start(layout, len(images))
    copy_end = layout.no_image.end
    cache = primitives.prefill_text(cache, layout.prompt_copy, prompts.ids, prompts.length, rope, copy_end)
    no_image = Branch(layout.no_image, rope + prompts.length, layout.view("prompt_copy", "system"))
    cache = primitives.prefill_vae(cache, layout.vae, rope, images)
    cache = primitives.prefill_vit(cache, layout.vit, rope + 1, patches, vit_grid)
    rope = rope + 2
    cache = primitives.prefill_text(cache, layout.prompt, prompts.ids, prompts.length, rope)
    full = Branch(layout.image, rope + prompts.length, layout.view("system", "prompt"))
    no_text = Branch(layout.no_text, rope, layout.view("system", "vit"))
    noise = primitives.initial_noise(keys, grid, turn=0)
    denoised = primitives.sample_image(
        cache, noise, grid, spec.config.turn2, keys, turn=0, full=full, no_text=no_text, no_image=no_image
    )
    return primitives.decode_latents(denoised.latents, grid)
