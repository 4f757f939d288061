"""The smallest of everything: a model, a processor, samples, batches. Tests share them."""

import dataclasses
import functools
import pathlib

import jax
import numpy as np
from flax import nnx

from irg_jax.core.tree import weight_name
from irg_jax.data import images
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.images import ImageTransform
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import Budgets, RowBuilder
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.data.trajectory import Trajectory
from irg_jax.models.config import DecoderConfig, ExecutionConfig, ModelConfig, PixelVAEConfig, ViTConfig
from irg_jax.models.transformer import UnifiedTransformer, abstract_model
from irg_jax.models.vae.pixel import PixelVAE
from irg_jax.training.config import OptimConfig
from irg_jax.training.losses import latent_tokens

BAGEL_TINY = pathlib.Path(__file__).parent / "data" / "bagel_tiny"

# One image is 16 generation tokens (stride 8) and 16 ViT patches (patch 8).
CONFIG = ModelConfig(
    decoder=DecoderConfig(
        hidden=16, layers=2, heads=4, kv_heads=2, head_dim=8, mlp=24, vocab=512, rope_theta=1e4, norm_eps=1e-6
    ),
    vit=ViTConfig(hidden=16, layers=2, heads=2, mlp=24, patch=8, patches_per_side=4, norm_eps=1e-6),
    vae=PixelVAEConfig(downsample=4, scale=2.0, shift=0.6),
    latent_patch=2,
    max_latent_size=4,
    time_features=8,
)
EXECUTION = ExecutionConfig(dtype="float32", remat="none", attention="plain", logits_chunk=64)
VAE = PixelVAE(CONFIG.vae)
BUDGETS = Budgets(und=160, gen=80, vit=64, images=5, image_size=(32, 32), vit_patch=3 * 8 * 8)


def config(**changes) -> ModelConfig:
    return dataclasses.replace(CONFIG, **changes)


def execution(**changes) -> ExecutionConfig:
    return dataclasses.replace(EXECUTION, **changes)


@functools.cache
def weights(seed: int = 0) -> nnx.State:
    """Weights that are all random: fresh ones are full of zeros and ones, which hide mistakes."""
    rng = np.random.default_rng(seed)

    def random(path, x):
        around = 1.0 if weight_name(path).endswith("scale") else 0.0
        return jax.numpy.asarray(around + 0.3 * rng.normal(size=x.shape), x.dtype)

    return jax.tree_util.tree_map_with_path(random, abstract_model(CONFIG)[1])


def model(seed: int = 0, **changes) -> UnifiedTransformer:
    """A model with ``weights(seed)``; ``changes`` are those of its execution, such as ``dtype``."""
    return nnx.merge(abstract_model(CONFIG, execution(**changes))[0], weights(seed))


def processor() -> Processor:
    return Processor(Tokenizer(BAGEL_TINY / "bagel"), ImageTransform(32, 16, 8), ImageTransform(32, 16, 8))


def png(seed: int = 0, height: int = 32, width: int = 32) -> bytes:
    return images.encode_png(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def trajectory(i: int = 0) -> Trajectory:
    return Trajectory(
        key=f"train/{i:06d}",
        prompt=f"a photo of {i} circles",
        thinking1=f"<think> plan {i} </think>",
        image1=png(2 * i),
        thinking2=f"<think> reflection {i} </think>",
        image2=png(2 * i + 1),
    )


def conversation(seed: int, parts: int = 5) -> Conversation:
    """Any order of texts and images with any flags; something is always learned."""
    rng = np.random.default_rng(seed)
    made: list[Text | Image] = [Text("a red bench", need_loss=True)]
    for _ in range(parts - 1):
        if rng.random() < 0.5:
            made.append(Text("circle " * int(rng.integers(0, 3)), need_loss=bool(rng.integers(2))))
        else:
            flags = [bool(x) for x in rng.integers(0, 2, 3)]
            size = [int(x) for x in rng.integers(1, 3, 2) * 16]
            made.append(Image(png(seed, *size), *(flags if any(flags) else (True, True, True))))
    return Conversation(f"random/{seed}", tuple(made[i] for i in rng.permutation(len(made))))


def row(samples: list[Conversation], budgets: Budgets = BUDGETS, dropped: list[int] | None = None) -> dict:
    """The samples packed into one row, without a batch axis."""
    words = processor()
    builder = RowBuilder(words, CONFIG.geometry)
    for i, sample in enumerate(samples):
        builder.add(sample, layout.segments(sample, words), dropped[i] if dropped else 0, mode=i)
    return jax.tree.map(lambda x: x[0], layout.stack([builder.row()], budgets))


def batch(*rows: dict) -> dict:
    return jax.tree.map(lambda *x: np.stack(x), *rows)


def latents(batch: dict) -> jax.Array:
    """The clean latent tokens of a batch."""
    return latent_tokens(VAE, CONFIG.latent_patch, batch)


def optim(**changes) -> OptimConfig:
    """The ``optim`` section of a config."""
    values = dict(
        lr=1e-2, schedule="constant", final_lr=1e-3, warmup_steps=0, b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0,
        clip_norm=1.0, moments_dtype="float32", ema_dtype="float32", ema_decay=0.9, accumulate=1, freeze=(),
        skip_nonfinite=0,
    )  # fmt: skip
    return OptimConfig(**values | changes)


def row_cost(*samples: Conversation) -> tuple[int, int, int, int]:
    """The budgets that these samples fill to the last token: (und, gen, vit, images)."""
    words = processor()
    costs = [segment.cost for sample in samples for segment in layout.segments(sample, words)]
    return tuple(int(x) for x in np.sum(costs, axis=0))


def decoder(**changes) -> DecoderConfig:
    return dataclasses.replace(CONFIG.decoder, **changes)
