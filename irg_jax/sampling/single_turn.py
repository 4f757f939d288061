"""Image understanding, text to image and image editing: the primitives of two-turn reasoning in other contexts.

Their layouts of positions (``cache.py``), the contexts of each branch in docs/method.md:

    answer:         system | ViT | question | answer
    text_to_image:  system | without text | prompt | image
    edit:           system | copy of the prompt | without image | VAE | ViT | without text | prompt | image

Where several images are given, their blocks follow one another in the order of the images: ViT, ViT, …; VAE, ViT, VAE,
ViT, …. All of them are in the context of a branch, or none.
"""

import functools
from collections.abc import Sequence

import jax

from irg_jax.sampling.cache import PositionLayout
from irg_jax.sampling.decode import TextBatch
from irg_jax.sampling.denoise import Branch
from irg_jax.sampling.primitives import Grid, Primitives, ProgramSpec, Weights


@functools.partial(jax.jit, static_argnums=0, static_argnames="vit_grids")
def answer(
    spec: ProgramSpec, weights: Weights, patches: Sequence[jax.Array], questions: TextBatch, keys: jax.Array, *,
    vit_grids: tuple[Grid, ...],
) -> TextBatch:  # fmt: skip
    """Answers questions about images, which are seen through the ViT alone.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      patches: of each image of a question, uint8 [B, rows·columns, 3·patch²].
      questions: with bos and eos, padded.
      keys: one random key per row.
      vit_grids: rows and columns of ViT patches of each image.
    """
    vit = {f"vit{i}": _block(grid) for i, grid in enumerate(vit_grids)}
    layout = PositionLayout(
        ("system", *vit, "question", "answer"), system=len(spec.system_ids()), **vit,
        question=questions.ids.shape[1], answer=spec.config.max_thinking[0],
    )  # fmt: skip
    primitives = Primitives(spec, weights)
    cache, rope = primitives.start(layout, len(questions.ids))
    for i, grid in enumerate(vit_grids):
        cache = primitives.prefill_vit(cache, getattr(layout, f"vit{i}"), rope, patches[i], grid)
        rope = rope + 1
    cache = primitives.prefill_text(cache, layout.question, questions.ids, questions.length, rope)
    return primitives.decode_text(cache, layout.answer, rope + questions.length, keys, turn=0)[0]


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
    block = _block(grid)
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


@functools.partial(jax.jit, static_argnums=0, static_argnames=("grids", "vit_grids"))
def edit(
    spec: ProgramSpec, weights: Weights, images: Sequence[jax.Array], patches: Sequence[jax.Array], prompts: TextBatch,
    keys: jax.Array, *, grids: tuple[Grid, ...], vit_grids: tuple[Grid, ...],
) -> jax.Array:  # fmt: skip
    """Edits images as prompts say, with the guidance of turn 2: away from no prompt, and from no image.

    Args:
      spec: what the program is compiled for.
      weights: of the model and the VAE.
      images: of each image of a prompt, uint8 [B, H, W, 3], at the VAE's size.
      patches: of each image, uint8 [B, rows·columns, 3·patch²], at the ViT's size.
      prompts: with bos and eos, padded.
      keys: one random key per row.
      grids: rows and columns of latent patches of each image.
      vit_grids: rows and columns of ViT patches of each image.

    Returns:
      uint8 [B, H, W, 3], of the size of the last image.
    """
    grid, size, count = grids[-1], prompts.ids.shape[1], len(grids)
    seen = {f"{name}{i}": _block(g) for i in range(count) for name, g in (("vae", grids[i]), ("vit", vit_grids[i]))}
    layout = PositionLayout(
        ("prompt_copy", "system", *seen, "prompt"), system=len(spec.system_ids()), prompt_copy=size,
        no_image=_block(grid), **seen, no_text=_block(grid), prompt=size, image=_block(grid),
    )  # fmt: skip
    primitives = Primitives(spec, weights)
    cache, rope = primitives.start(layout, len(prompts.ids))
    copy_end = layout.no_image.end
    cache = primitives.prefill_text(cache, layout.prompt_copy, prompts.ids, prompts.length, rope, copy_end)
    no_image = Branch(layout.no_image, rope + prompts.length, layout.view("prompt_copy", "system"))
    for i in range(count):
        cache = primitives.prefill_vae(cache, getattr(layout, f"vae{i}"), rope, images[i])
        cache = primitives.prefill_vit(cache, getattr(layout, f"vit{i}"), rope + 1, patches[i], vit_grids[i])
        rope = rope + 2
    cache = primitives.prefill_text(cache, layout.prompt, prompts.ids, prompts.length, rope)
    full = Branch(layout.image, rope + prompts.length, layout.view("system", "prompt"))
    no_text = Branch(layout.no_text, rope, layout.view("system", f"vit{count - 1}"))
    noise = primitives.initial_noise(keys, grid, turn=0)
    denoised = primitives.sample_image(
        cache, noise, grid, spec.config.turn2, keys, turn=0, full=full, no_text=no_text, no_image=no_image
    )
    return primitives.decode_latents(denoised.latents, grid)


def _block(grid: Grid) -> int:
    """Tokens of an image block, with vision_start and vision_end."""
    return grid[0] * grid[1] + 2
