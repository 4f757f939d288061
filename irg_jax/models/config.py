"""The model's config: its architecture (``ModelConfig``) and how it is executed (``ExecutionConfig``).

Both are frozen and hashable, and the same classes describe the smallest model and 7B. The architecture decides the
shapes of the weights; execution changes results only by rounding.
"""

import dataclasses
from typing import Any, Literal

from irg_jax.core.config.ranges import above, at_least
from irg_jax.core.errors import ConfigError, check
from irg_jax.core.geometry import TokenGeometry


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The decoder: a Qwen2 with two experts per layer (mixture of transformers, arXiv 2505.14683).

    Attributes:
      hidden: width of the residual stream.
      layers: number of layers.
      heads: query heads.
      kv_heads: key and value heads (grouped-query attention).
      head_dim: width of a head.
      mlp: hidden width of the gated MLP.
      vocab: rows of the embedding and columns of the LM head.
      rope_theta: base of the rotary frequencies.
      norm_eps: epsilon of every RMSNorm.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocab: int
    rope_theta: float
    norm_eps: float

    def __post_init__(self) -> None:
        at_least(self, 1, "hidden", "layers", "heads", "kv_heads", "head_dim", "mlp", "vocab")
        above(self, 0, "rope_theta", "norm_eps")
        check(self.heads % self.kv_heads == 0, "kv_heads", f"{self.kv_heads} must divide the {self.heads} heads")
        check(self.head_dim % 2 == 0, "head_dim", f"{self.head_dim} must be even, RoPE rotates its halves")
        check(self.hidden % 4 == 0, "hidden", f"{self.hidden} must be a multiple of 4, for the 2-D position embedding")


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The image encoder (SigLIP NaViT, arXiv 2307.06304).

    Attributes:
      hidden: width of the residual stream.
      layers: layers that are run; the published model skips the encoder's last one.
      heads: attention heads.
      mlp: hidden width of the MLP.
      patch: pixels per side of a patch.
      patches_per_side: side of the learned position table.
      norm_eps: epsilon of every LayerNorm.
    """

    hidden: int
    layers: int
    heads: int
    mlp: int
    patch: int
    patches_per_side: int
    norm_eps: float

    def __post_init__(self) -> None:
        at_least(self, 1, "hidden", "layers", "heads", "mlp", "patch", "patches_per_side")
        above(self, 0, "norm_eps")
        check(self.hidden % self.heads == 0, "hidden", f"{self.hidden} must be a multiple of the {self.heads} heads")


@dataclasses.dataclass(frozen=True)
class PixelVAEConfig:
    """The pixel VAE, which has no weights; see ``vae.pixel.PixelVAE``.

    Attributes:
      downsample: pixels per side of a latent.
      scale: latents are scale·(pixel − shift), with pixels in [−1, 1].
      shift: near the mean of the pixels, so that latents are centred.
    """

    downsample: int
    scale: float
    shift: float
    kind: Literal["pixel"] = "pixel"

    def __post_init__(self) -> None:
        at_least(self, 1, "downsample")
        above(self, 0, "scale")

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return 3 * self.downsample**2


@dataclasses.dataclass(frozen=True)
class FluxVAEConfig:
    """The FLUX VAE; see ``vae.flux.FluxVAE``.

    Attributes:
      width: channels at full resolution.
      multipliers: channels of each resolution as a multiple of ``width``; each resolution is half the previous.
      blocks: residual blocks per resolution in the encoder; the decoder has one more.
      channels: channels of a latent.
      scale: latents are scale·(posterior sample − shift).
      shift: see ``scale``.
    """

    width: int
    multipliers: tuple[int, ...]
    blocks: int
    channels: int
    scale: float
    shift: float
    kind: Literal["flux"] = "flux"

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "blocks", "channels")
        above(self, 0, "scale")
        check(self.multipliers and min(self.multipliers) >= 1, "multipliers", f"{self.multipliers} must be 1 or more")

    @property
    def downsample(self) -> int:
        """Pixels per side of a latent."""
        return 2 ** (len(self.multipliers) - 1)


VAEConfig = PixelVAEConfig | FluxVAEConfig


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The architecture: everything that decides the shapes of the weights.

    Attributes:
      decoder: the decoder with its two experts.
      vit: the image encoder, for image understanding.
      vae: the frozen VAE, for image generation.
      latent_patch: latents per side of a generation token.
      max_latent_size: side of the latent position table, in tokens.
      time_features: size of the sinusoidal features of a timestep.
    """

    decoder: DecoderConfig
    vit: ViTConfig
    vae: VAEConfig
    latent_patch: int
    max_latent_size: int
    time_features: int

    def __post_init__(self) -> None:
        at_least(self, 1, "latent_patch", "max_latent_size")
        at_least(self, 2, "time_features")

    @property
    def token_channels(self) -> int:
        """Channels of a generation token: those of its patch of latents."""
        return self.vae.channels * self.latent_patch**2

    @property
    def vae_stride(self) -> int:
        """Pixels per side of a generation token."""
        return self.vae.downsample * self.latent_patch

    @property
    def geometry(self) -> TokenGeometry:
        """What the data pipeline has to know of this model."""
        return TokenGeometry(
            self.decoder.vocab,
            self.vae_stride,
            self.latent_patch,
            self.vae.channels,
            self.max_latent_size,
            self.vit.patch,
            self.vit.patches_per_side,
        )


# Attention backends that run on one platform only; the others run on all.
BACKEND_PLATFORMS = {"gpu": "gpu", "tpu": "tpu"}


@dataclasses.dataclass(frozen=True)
class ExecutionConfig:
    """How a model is executed.

    Attributes:
      dtype: compute dtype; weights are always float32 in training.
      remat: the rematerialization policy, a name in ``remat.POLICIES``: what the backward pass keeps of each layer.
      attention: a backend in ``attention.BACKENDS``, or ``auto`` for the one of the platform.
      logits_chunk: tokens per row whose logits are in memory at once in training.
      gradients: of linear layers and RMSNorms: ``cpu``, written for CPUs (``models.cpu_gradients``), which ``jax.jvp``
        cannot differentiate; ``autodiff``; or ``auto`` for those of the platform.
      vae_encode: whether training encodes images with the VAE in the program of the training step, or in a separate
        program before it, whose memory is free again when the step runs.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "full", "attention", "offload", "dots"] = "full"
    attention: Literal["auto", "plain", "chunked", "gpu", "tpu"] = "auto"
    logits_chunk: int = 2048
    gradients: Literal["auto", "autodiff", "cpu"] = "auto"
    vae_encode: Literal["in_step", "separate"] = "in_step"

    def __post_init__(self) -> None:
        check(self.logits_chunk > 0, "logits_chunk", f"{self.logits_chunk} must be at least 1")

    def on(self, platform: str) -> "ExecutionConfig":
        """This config with every ``auto`` resolved for a platform, such as ``jax.default_backend()``.

        Raises:
          ConfigError: ``execution.attention`` does not run on this platform.
        """
        if BACKEND_PLATFORMS.get(self.attention, platform) != platform:
            raise ConfigError("execution.attention", f"{self.attention!r} does not run on {platform}; set it to auto")
        attention: Any = self.attention
        if attention == "auto":
            attention = next((name for name, needed in BACKEND_PLATFORMS.items() if needed == platform), "chunked")
        gradients = self.gradients
        if gradients == "auto":
            gradients = "cpu" if platform == "cpu" else "autodiff"
        return dataclasses.replace(self, attention=attention, gradients=gradients)
