"""What the data has to know of a model, so that neither imports the other."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TokenGeometry:
    """How many tokens an image is, and where the position and vocabulary tables end.

    Attributes:
      vocab: rows of the embedding.
      vae_stride: pixels per side of a generation token.
      latent_patch: latents per side of a generation token.
      latent_channels: of a latent.
      max_latent_size: side of the latent position table, in tokens.
      vit_patch: pixels per side of a ViT patch.
      vit_patches_per_side: side of the ViT position table, in patches.
    """

    vocab: int
    vae_stride: int
    latent_patch: int
    latent_channels: int
    max_latent_size: int
    vit_patch: int
    vit_patches_per_side: int
