"""A step's work, traffic and time by formula: what a perfect overlap of all of them would take.

Everything is a chip's share of one step. Passes over the layers are three where the backward pass runs the forward pass
again, else two. With g = fsdp · context chips that share the weights, c = context, t = tensor, d = data:

- weights are gathered in the compute type in every pass, gradients are scattered once in float32, and reduced over d;
- keys and values are gathered over c in every pass, their gradients scattered once;
- t sums the activations of each layer twice a pass.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp

from irg_jax.models.config import FluxConfig, ModelConfig
from irg_jax.planning.hardware import Topology
from irg_jax.training.flops import train_step_flops

# Bytes an activation of one token and layer moves through memory, in units of the hidden size: read and written by
# norms, projections, attention and MLP in bfloat16. An estimate.
_ACTIVATION_TRAFFIC = 2 * 2 * 24


@dataclasses.dataclass(frozen=True)
class Load:
    """What a global batch holds.

    Attributes:
      rows: of a fixed size.
      und: understanding tokens in all rows.
      gen: generation tokens.
      vit: ViT patches.
      pairs: visible (query, key) pairs.
      pictures: that the autoencoder encodes for each row, empty ones included.
      picture_flops: of encoding one.
    """

    rows: int
    und: float
    gen: float
    vit: float
    pairs: float
    pictures: int
    picture_flops: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One step.

    Attributes:
      model_flops: of all chips, nothing recomputed.
      traffic: bytes that a chip receives, by axis and kind.
      seconds: by what limits: compute, memory, links (within a slice) and network (between slices).
      mfu: at the longest of them.
    """

    model_flops: float
    traffic: dict[str, float]
    seconds: dict[str, float]
    mfu: float

    @property
    def step_seconds(self) -> float:
        """With everything else hidden behind the longest."""
        return max(self.seconds.values())

    @property
    def bound(self) -> str:
        """What that is."""
        return max(self.seconds, key=lambda name: self.seconds[name])


def estimate(
    model: ModelConfig, weights: float, mesh: Mapping[str, int], topology: Topology, load: Load, moments_bytes: int
) -> Estimate:
    """See the head of this file.

    Args:
      model: whose ``remat`` and ``dtype`` count.
      weights: numbers in it.
      mesh: chips along each axis.
      topology: the chips.
      load: a global batch.
      moments_bytes: of both moments and the average of one weight.
    """
    d, g, c, t = mesh["data"], mesh["fsdp"] * mesh["context"], mesh["context"], mesh["tensor"]
    decoder, chip = model.decoder, topology.chip
    size = jnp.dtype(model.dtype).itemsize
    passes = 2 if model.remat in ("none", "dots") else 3
    mine = 1 / (d * mesh["fsdp"])  # of the rows
    tokens = (load.und + load.gen) * mine
    traffic = {
        "weights gathered over fsdp x context": passes * size * weights / t * (g - 1) / g,
        "gradients scattered over fsdp x context": 4 * weights / t * (g - 1) / g,
        "gradients reduced over data": 2 * 4 * weights / (t * g) * (d - 1) / d,
        "keys and values over context": (passes + 2)
        * decoder.layers * tokens * 2 * decoder.kv_heads / t * decoder.head_dim * size * (c - 1) / c,
        "activations over tensor": 2 * passes * decoder.layers * tokens / c * decoder.hidden * size * 2 * (t - 1) / t,
    }  # fmt: skip
    flops = train_step_flops(model, und=load.und, gen=load.gen, vit=load.vit, pairs=load.pairs)
    # Those who share a row's tokens share its pictures, one at a time; tensor does not split them.
    encoded = load.rows * mine * -(-load.pictures // c) * load.picture_flops
    executed = flops * (passes + 1) / 3 / topology.chips + encoded
    across = traffic["gradients reduced over data"] if topology.slices > 1 else 0.0
    memory = (
        passes * 2 * size * weights / t
        + (4 * 4 + 2 * moments_bytes) * weights / (t * g)
        + passes * _ACTIVATION_TRAFFIC * decoder.layers * tokens / c * decoder.hidden
    )
    seconds = {
        "compute": executed / chip.flops,
        "memory": memory / chip.bandwidth,
        "links": (sum(traffic.values()) - across) / chip.links,
        "network": across / chip.network,
    }
    return Estimate(flops, traffic, seconds, flops / topology.chips / chip.flops / max(seconds.values()))


def kept_bytes(model: ModelConfig, rows: float, tokens: float) -> float:
    """Activations of the decoder that a chip keeps for the backward pass, and those of the layer it is in.

    Args:
      model: whose ``remat`` counts.
      rows: of the chip.
      tokens: of each row that are the chip's, padding included.
    """
    decoder = model.decoder
    size = jnp.dtype(model.dtype).itemsize
    projections = 2 * decoder.hidden + 2 * (decoder.heads + decoder.kv_heads) * decoder.head_dim + 3 * decoder.mlp
    attended = decoder.heads * (decoder.head_dim * size + 4)
    by_layer = {
        "full": decoder.hidden * size,
        "attention": decoder.hidden * size + attended,
        "dots": decoder.hidden * size + projections * size + attended,
        "none": decoder.hidden * size + 2 * projections * size + attended,
        "offload": 0,
    }[model.remat]
    one_layer = (2 * projections * size + attended) * rows * tokens
    logits = 2 * 4 * rows * model.logits_chunk * decoder.vocab
    return rows * tokens * decoder.layers * by_layer + max(one_layer, logits)


def temporary_bytes(
    model: ModelConfig, weights: float, mesh: Mapping[str, int], load: Load, tokens: float, picture: tuple[int, int]
) -> float:
    """What a step needs of a chip beside its state, by formula, where nothing can be compiled.

    Activations (``kept_bytes``, and the ViT's likewise); the chip's part of the gradients, and of the weights in the
    compute type; of two layers, the weights whole and the gradients before they are scattered; of the embedding and the
    logits' head, the weights whole and one gradient; four arrays of the autoencoder's finest level, of one picture.

    Args:
      model: whose ``remat`` and ``dtype`` count.
      weights: numbers in it.
      mesh: chips along each axis.
      load: a global batch.
      tokens: of a row, padding included.
      picture: (height, width) of the largest one in pixels.
    """
    t, c = mesh["tensor"], mesh["context"]
    shards, size = mesh["fsdp"] * c * t, jnp.dtype(model.dtype).itemsize
    rows, vit = load.rows / (mesh["data"] * mesh["fsdp"]), model.vit
    table = model.decoder.vocab * model.decoder.hidden / t
    copy = size * weights / shards if size < 4 else 0.0
    finest = model.autoencoder.width if isinstance(model.autoencoder, FluxConfig) else 3
    looked_at = load.vit / load.rows * rows / c
    return (
        kept_bytes(model, rows, tokens / c)
        + looked_at * size * (vit.layers * vit.hidden + 2 * (6 * vit.hidden + 2 * vit.mlp))
        + 4 * weights / shards
        + copy
        + 2 * (size + 4) * weights / model.decoder.layers / t
        + (2 * size + 4) * table
        + 4 * 4 * picture[0] * picture[1] * finest
    )
