"""Model FLOPs of a training step: matmuls forward and backward, attention by visible pairs, nothing recomputed."""

from irg_jax.models.config import ModelConfig, PixelVAEConfig, VAEConfig


def train_step_flops(config: ModelConfig, *, und: float, gen: float, vit: float, pairs: float) -> float:
    """FLOPs that the model needs for one step.

    A multiply-add is two FLOPs and the backward pass costs twice the forward pass, so every weight costs six FLOPs per
    token that it is applied to, and every visible (query, key) pair 12·heads·head_dim per layer.

    Args:
      config: the architecture.
      und: understanding tokens, padding not counted.
      gen: generation tokens.
      vit: ViT patches; pairs within the ViT are left out, they are below a percent.
      pairs: visible (query, key) pairs in the decoder.
    """
    d, v = config.decoder, config.vit
    attention = 2 * d.hidden * (d.heads + d.kv_heads) * d.head_dim
    layer = attention + 3 * d.hidden * d.mlp
    und_weights = d.layers * layer + d.hidden * d.vocab
    gen_weights = d.layers * layer + 2 * d.hidden * config.token_channels + d.hidden**2
    vit_layer = 4 * v.hidden**2 + 2 * v.hidden * v.mlp
    vit_weights = v.layers * vit_layer + 3 * v.patch**2 * v.hidden + v.hidden * d.hidden + d.hidden**2
    weights = und * und_weights + gen * gen_weights + vit * vit_weights
    return 6 * weights + 12 * pairs * d.layers * d.heads * d.head_dim


def encode_flops(config: VAEConfig, size: tuple[int, int]) -> float:
    """FLOPs of the VAE encoder's matmuls and convolutions for one image; they do not count as model FLOPs.

    Args:
      config: of the VAE.
      size: (height, width) in pixels.
    """
    if isinstance(config, PixelVAEConfig):
        return 0.0
    pixels, channels = size[0] * size[1], config.width
    multiply_adds = 9 * 3 * channels * pixels
    last = len(config.multipliers) - 1
    for level, multiplier in enumerate(config.multipliers):
        before, channels = channels, config.width * multiplier
        shortcut = before * channels if before != channels else 0
        multiply_adds += (9 * channels * (before + (2 * config.blocks - 1) * channels) + shortcut) * pixels
        if level < last:
            pixels //= 4
            multiply_adds += 9 * channels**2 * pixels
    mid_block = 4 * 9 * channels**2 + 4 * channels**2 + 2 * pixels * channels
    return 2.0 * (multiply_adds + (mid_block + 9 * channels * 2 * config.channels) * pixels)
