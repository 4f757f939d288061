"""The shape of a model: frozen, hashable, the same class for the tiny world and for 7B."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from irg_jax import sections
from irg_jax.errors import UserError
from irg_jax.models.attention import BACKENDS, backend_for
from irg_jax.models.attention.spans import SAVED

LAYER_INPUT = "layer_input"

# What the backward pass has of each layer without computing it again: everything; nothing but its input; that and what
# attention gave; the same two, kept in the memory of the host; or what attention and the matmuls against weights gave.
_policies = jax.checkpoint_policies
REMAT = {
    "none": _policies.everything_saveable,
    "full": _policies.nothing_saveable,
    "attention": _policies.save_only_these_names(SAVED),
    "offload": _policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[LAYER_INPUT, SAVED],
        offload_src="device",
        offload_dst="pinned_host",
    ),
    "dots": _policies.save_from_both_policies(
        _policies.dots_with_no_batch_dims_saveable, _policies.save_only_these_names(SAVED)
    ),
}


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The two-expert decoder.

    Attributes:
      hidden: width of the residual stream.
      layers: number of blocks.
      heads: query heads.
      kv_heads: key and value heads.
      head_dim: width of a head.
      mlp: inner width of the gated MLP.
      vocab: rows of the embedding and of the logits head.
      rope_theta: base of the rotary frequencies.
      norm_eps: of every RMSNorm.
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


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The image encoder (SigLIP NaViT).

    Attributes:
      hidden: width.
      layers: blocks that are run; the published setting leaves the encoder's last one out.
      heads: attention heads.
      mlp: inner width of the MLP.
      patch: pixels a patch's side.
      patches_per_side: side of the learned position table.
      norm_eps: of every LayerNorm.
    """

    hidden: int
    layers: int
    heads: int
    mlp: int
    patch: int
    patches_per_side: int
    norm_eps: float


@dataclasses.dataclass(frozen=True)
class PixelConfig:
    """The training-free pixel autoencoder; see ``autoencoder.PixelAutoencoder``.

    Attributes:
      downsample: pixels a latent's side.
      scale: latents are scale·(pixel − shift), with pixels in [−1, 1].
      shift: near the mean of the pixels, so that latents are centred.
    """

    downsample: int
    scale: float
    shift: float

    @property
    def channels(self) -> int:
        """Numbers in a latent."""
        return 3 * self.downsample**2


@dataclasses.dataclass(frozen=True)
class FluxConfig:
    """The FLUX VAE; see ``flux.FluxAutoencoder``.

    Attributes:
      width: channels of the finest level.
      multipliers: channels of each level as a multiple of ``width``; each level but the last halves the picture.
      blocks: residual blocks a level of the encoder; the decoder has one more.
      channels: numbers in a latent.
      scale: latents are scale·(posterior sample − shift).
      shift: see ``scale``.
    """

    width: int
    multipliers: tuple[int, ...]
    blocks: int
    channels: int
    scale: float
    shift: float

    @property
    def downsample(self) -> int:
        """Pixels a latent's side."""
        return 2 ** (len(self.multipliers) - 1)


# Pictures are encoded within the training step, or by a program of its own ahead of it, whose memory is free again when
# the step runs.
ENCODE = ("within", "ahead")

AUTOENCODERS: dict[str, type[PixelConfig] | type[FluxConfig]] = {"pixel": PixelConfig, "flux": FluxConfig}


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of the weights and how they are run.

    Attributes:
      decoder: see ``DecoderConfig``.
      vit: see ``ViTConfig``.
      autoencoder: one of ``AUTOENCODERS``, by its ``kind``.
      latent_patch: latents a generation token's side.
      max_latent_size: side of the latent position table, in patches.
      time_features: numbers in the sin-cos features of a time.
      dtype: compute type, ``float32`` or ``bfloat16``; weights are always float32.
      remat: what the backward pass keeps, a name in ``REMAT``.
      attention: ``auto`` or a name in ``attention.BACKENDS``; see ``on``.
      logits_chunk: tokens of a row whose logits are in memory at once in training.
      encode: where training encodes pictures, a name in ``ENCODE``.
    """

    decoder: DecoderConfig
    vit: ViTConfig
    autoencoder: PixelConfig | FluxConfig
    latent_patch: int
    max_latent_size: int
    time_features: int
    dtype: str
    remat: str
    attention: str
    logits_chunk: int
    encode: str

    def on(self, platform: str) -> "ModelConfig":
        """The same model with the attention backend of a platform, such as ``jax.default_backend()``.

        Raises:
          UserError: the backend that the config asks for does not run there.
        """
        return dataclasses.replace(self, attention=backend_for(self.attention, platform))

    def run_as(self, other: "ModelConfig") -> "ModelConfig":
        """The same weights, run the way ``other`` is."""
        how = ("dtype", "remat", "attention", "logits_chunk", "encode")
        return dataclasses.replace(self, **{name: getattr(other, name) for name in how})

    @property
    def token_channels(self) -> int:
        """Numbers in a generation token's latent patch."""
        return self.autoencoder.channels * self.latent_patch**2

    @property
    def vae_stride(self) -> int:
        """Pixels a generation token's side."""
        return self.autoencoder.downsample * self.latent_patch

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """From the ``model`` section of a config.

        Raises:
          UserError: an unknown or missing key, or a combination that no model can have, by its key.
        """
        nested = {"decoder": DecoderConfig, "vit": ViTConfig}
        parts = {k: sections.build(nested[k], v, f"model.{k}") if k in nested else v for k, v in values.items()}
        parts["autoencoder"] = _autoencoder(values.get("autoencoder", {}))
        config = sections.build(cls, parts, "model")
        decoder, vit = config.decoder, config.vit
        checks = (
            (decoder.heads % decoder.kv_heads == 0, "decoder.kv_heads", "must divide decoder.heads"),
            (decoder.head_dim % 2 == 0, "decoder.head_dim", "must be even, rotary embedding turns its halves"),
            (decoder.hidden % 4 == 0, "decoder.hidden", "must be a multiple of 4, for the 2-D position embedding"),
            (vit.hidden % vit.heads == 0, "vit.hidden", "must be a multiple of vit.heads"),
            (config.dtype in ("float32", "bfloat16"), "dtype", "must be float32 or bfloat16"),
            (config.remat in REMAT, "remat", f"must be one of {', '.join(REMAT)}"),
            (config.attention in ("auto", *BACKENDS), "attention", f"must be one of auto, {', '.join(BACKENDS)}"),
            (config.logits_chunk > 0, "logits_chunk", "must be at least 1"),
            (config.encode in ENCODE, "encode", f"must be one of {', '.join(ENCODE)}"),
        )
        for fine, key, message in checks:
            if not fine:
                raise UserError(f"model.{key} {message}")
        return config


def _autoencoder(values: Mapping[str, Any]) -> PixelConfig | FluxConfig:
    kind = values.get("kind")
    if kind not in AUTOENCODERS:
        raise UserError(f"model.autoencoder.kind: {kind!r} is none of {', '.join(AUTOENCODERS)}")
    return sections.build(AUTOENCODERS[kind], {k: v for k, v in values.items() if k != "kind"}, "model.autoencoder")
