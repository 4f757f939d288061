"""Interleaving reasoning: think, paint, look, reflect, paint again (IRG, arXiv 2509.06945, section 3.3).

    system | null | prompt | thinking 1 | turn 1 | copy of thinking 2 | no image
           | VAE | ViT | no reflection | thinking 2 | turn 2

is the line of positions (``cache``): ``null`` sees the system prompt alone; ``no reflection`` the first turn and its
picture; ``turn 2`` everything. The copy of thinking 2 is read without the picture; ``no image`` alone sees it.
"""

import functools

import jax

from irg_jax.models.transformer import Past
from irg_jax.sampling.cache import Line
from irg_jax.sampling.flow import Branch
from irg_jax.sampling.steps import Setting, Steps, Weights
from irg_jax.sampling.text import Written


@functools.partial(jax.jit, static_argnums=0)
def first_turn(
    setting: Setting, weights: Weights, prompts: Written, thought: Written | None, noise: jax.Array | None,
    keys: jax.Array,
) -> tuple[Written, jax.Array, jax.Array, Past]:  # fmt: skip
    """Thinking 1 and image 1.

    Args:
      setting: what is compiled.
      weights: of the model and the autoencoder.
      prompts: with bos and eos, padded.
      thought: thinking 1 where it is given, padded to its region; else the model writes it.
      noise: where the flow starts, float32 [B, N, channels]; drawn from ``keys`` where None.
      keys: a random key a row.

    Returns:
      thinking 1; the latent patches of image 1, float32 [B, N, channels]; the next rotary id, int32 [B]; the cache.
    """
    steps, line = Steps(setting, weights), _line(setting, prompts.ids.shape[1])
    guidance, grid = setting.sampling.turn1, setting.grid(setting.vocabulary.vae_transform)
    past, rope = steps.begin(line, len(prompts.ids))
    null = Branch(line.null, rope, line.view("system", "system"))
    past = steps.read(past, line.prompt, prompts.ids, prompts.length, rope)
    rope = rope + prompts.length
    if thought is None:
        thought, past = steps.write(past, line.thinking1, rope, keys, turn=0)
    else:
        past = steps.read(past, line.thinking1, thought.ids, thought.length, rope)
    rope = rope + thought.length
    full = Branch(line.turn1, rope, line.view("system", "thinking1"))
    noise = steps.noise(keys, grid, turn=0) if noise is None else noise
    latents = steps.paint(past, noise, grid, guidance, full=full, no_text=null)
    return thought, latents, rope, past


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def second_turn(
    setting: Setting, prompt_size: int, weights: Weights, past: Past, rope: jax.Array, image: jax.Array,
    patches: jax.Array, thought: Written | None, noise: jax.Array | None, keys: jax.Array,
) -> tuple[Written, jax.Array, Past]:  # fmt: skip
    """Looks at image 1, writes thinking 2 and paints image 2.

    Args:
      setting: what is compiled.
      prompt_size: padded length of the prompts.
      weights: of the model and the autoencoder.
      past: the cache after turn 1.
      rope: the next rotary id, int32 [B].
      image: image 1, uint8 [B, H, W, 3].
      patches: its ViT patches, uint8 [B, X, 3·patch²].
      thought: thinking 2 where it is given; else the model writes it.
      noise: as in ``first_turn``.
      keys: a random key a row.

    Returns:
      thinking 2; the latent patches of image 2; the cache.
    """
    steps, line = Steps(setting, weights), _line(setting, prompt_size)
    guidance, transforms = setting.sampling.turn2, setting.vocabulary
    grid, vit_grid = setting.grid(transforms.vae_transform), setting.grid(transforms.vit_transform)
    past = steps.look_vae(past, line.vae, rope, image)
    past = steps.look_vit(past, line.vit, rope + 1, patches, vit_grid)
    without_picture, rope = rope, rope + 2
    no_text = Branch(line.no_reflection, rope, line.view("system", "vit"))
    if thought is None:
        thought, past = steps.write(past, line.thinking2, rope, keys, turn=1)
    else:
        past = steps.read(past, line.thinking2, thought.ids, thought.length, rope)
    no_image = None
    if guidance.image_scale > 1:
        past = steps.read(past, line.copy2, thought.ids, thought.length, without_picture, line.no_image.end)
        no_image = Branch(line.no_image, without_picture + thought.length, line.view("copy2", "thinking1"))
    full = Branch(line.turn2, rope + thought.length, line.view("system", "thinking2"))
    noise = steps.noise(keys, grid, turn=1) if noise is None else noise
    return thought, steps.paint(past, noise, grid, guidance, full=full, no_text=no_text, no_image=no_image), past


@functools.partial(jax.jit, static_argnums=0)
def decode(setting: Setting, weights: Weights, latents: jax.Array) -> jax.Array:
    """Latent patches of painted pictures to uint8 [B, H, W, 3]."""
    return Steps(setting, weights).decode(latents, setting.grid(setting.vocabulary.vae_transform))


def _line(setting: Setting, prompt: int) -> Line:
    thinking1, thinking2 = setting.sampling.max_thinking
    rows, columns = setting.grid(setting.vocabulary.vae_transform)
    vit_rows, vit_columns = setting.grid(setting.vocabulary.vit_transform)
    block = rows * columns + 2
    return Line(
        ("copy2", "system", "prompt", "thinking1", "vae", "vit", "thinking2"),
        system=len(setting.system_ids()), null=block, prompt=prompt, thinking1=thinking1, turn1=block,
        copy2=thinking2, no_image=block, vae=block, vit=vit_rows * vit_columns + 2, no_reflection=block,
        thinking2=thinking2, turn2=block,
    )  # fmt: skip
