"""Understanding, plain text to image, and editing: the steps of two-turn reasoning in other contexts (irg.md §3).

Their lines of positions (``cache``):

    answer:  system | ViT | question | answer
    paint:   system | null | prompt | picture
    edit:    system | copy of the prompt | no image | VAE | ViT | no text | prompt | picture
"""

import functools

import jax

from irg_jax.sampling.cache import Line
from irg_jax.sampling.flow import Branch
from irg_jax.sampling.steps import Grid, Setting, Steps, Weights
from irg_jax.sampling.text import Written


@functools.partial(jax.jit, static_argnums=(0, 1))
def answer(
    setting: Setting, vit_grid: Grid, weights: Weights, patches: jax.Array, questions: Written, keys: jax.Array
) -> Written:
    """Answers questions about pictures, which are seen through the ViT alone.

    Args:
      setting: what is compiled.
      vit_grid: rows and columns of ViT patches.
      weights: of the model and the autoencoder.
      patches: uint8 [B, rows·columns, 3·patch²].
      questions: with bos and eos, padded.
      keys: a random key a row.
    """
    line = Line(
        ("system", "vit", "question", "answer"), system=len(setting.system_ids()), vit=vit_grid[0] * vit_grid[1] + 2,
        question=questions.ids.shape[1], answer=setting.sampling.max_thinking[0],
    )  # fmt: skip
    steps = Steps(setting, weights)
    past, rope = steps.begin(line, len(patches))
    past = steps.look_vit(past, line.vit, rope, patches, vit_grid)
    past = steps.read(past, line.question, questions.ids, questions.length, rope + 1)
    return steps.write(past, line.answer, rope + 1 + questions.length, keys, turn=0)[0]


@functools.partial(jax.jit, static_argnums=0)
def paint(setting: Setting, weights: Weights, prompts: Written, keys: jax.Array) -> jax.Array:
    """Paints prompts without a thought, with the guidance of turn 1.

    Args:
      setting: what is compiled.
      weights: of the model and the autoencoder.
      prompts: with bos and eos, padded.
      keys: a random key a row.

    Returns:
      uint8 [B, H, W, 3].
    """
    grid = setting.grid(setting.vocabulary.vae_transform)
    block = grid[0] * grid[1] + 2
    line = Line(
        ("system", "prompt"), system=len(setting.system_ids()), null=block, prompt=prompts.ids.shape[1], picture=block
    )
    steps = Steps(setting, weights)
    past, rope = steps.begin(line, len(prompts.ids))
    past = steps.read(past, line.prompt, prompts.ids, prompts.length, rope)
    full = Branch(line.picture, rope + prompts.length, line.view("system", "prompt"))
    null = Branch(line.null, rope, line.view("system", "system"))
    noise = steps.noise(keys, grid, turn=0)
    latents = steps.paint(past, noise, grid, setting.sampling.turn1, full=full, no_text=null)
    return steps.decode(latents, grid)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def edit(
    setting: Setting, grid: Grid, vit_grid: Grid, weights: Weights, pictures: jax.Array, patches: jax.Array,
    prompts: Written, keys: jax.Array,
) -> jax.Array:  # fmt: skip
    """Paints pictures anew as prompts say, with the guidance of turn 2: away from no prompt, and from no picture.

    Args:
      setting: what is compiled.
      grid: rows and columns of latent patches.
      vit_grid: rows and columns of ViT patches.
      weights: of the model and the autoencoder.
      pictures: uint8 [B, H, W, 3], at the autoencoder's size.
      patches: uint8 [B, rows·columns, 3·patch²], at the ViT's size.
      prompts: with bos and eos, padded.
      keys: a random key a row.

    Returns:
      uint8 [B, H, W, 3].
    """
    block, size = grid[0] * grid[1] + 2, prompts.ids.shape[1]
    line = Line(
        ("copy", "system", "vae", "vit", "prompt"), system=len(setting.system_ids()), copy=size, no_image=block,
        vae=block, vit=vit_grid[0] * vit_grid[1] + 2, no_text=block, prompt=size, picture=block,
    )  # fmt: skip
    steps = Steps(setting, weights)
    past, rope = steps.begin(line, len(pictures))
    past = steps.read(past, line.copy, prompts.ids, prompts.length, rope, line.no_image.end)
    no_image = Branch(line.no_image, rope + prompts.length, line.view("copy", "system"))
    past = steps.look_vae(past, line.vae, rope, pictures)
    past = steps.look_vit(past, line.vit, rope + 1, patches, vit_grid)
    rope = rope + 2
    past = steps.read(past, line.prompt, prompts.ids, prompts.length, rope)
    full = Branch(line.picture, rope + prompts.length, line.view("system", "prompt"))
    no_text = Branch(line.no_text, rope, line.view("system", "vit"))
    noise = steps.noise(keys, grid, turn=0)
    latents = steps.paint(past, noise, grid, setting.sampling.turn2, full=full, no_text=no_text, no_image=no_image)
    return steps.decode(latents, grid)
