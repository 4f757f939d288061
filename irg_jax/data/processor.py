"""The processor: a tokenizer and both image transforms."""

import dataclasses

from irg_jax.data.images import ImageTransform
from irg_jax.data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Processor:
    """Turns texts into token ids and images into pixels for the VAE and for the ViT."""

    tokenizer: Tokenizer
    vae_transform: ImageTransform
    vit_transform: ImageTransform
