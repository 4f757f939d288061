"""A step's work, traffic and time by formula: a roofline, as if compute and all traffic overlapped perfectly.

Everything is per chip and step. There are three passes over the layers where the backward pass recomputes the forward
pass, else two. With g = fsdp · context chips that share the weights, c = context, t = tensor, d = data:

- weights are gathered in the compute dtype in every pass, gradients are scattered once in float32, and reduced over d;
- keys and values are gathered over c in every pass, their gradients scattered once;
- t sums the activations of each layer twice per pass.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp

from irg_jax.models.config import ExecutionConfig, FluxVAEConfig, ModelConfig
from irg_jax.planning.topology import Topology
from irg_jax.training.flops import train_step_flops

# Bytes that the activations of one token in one layer move through memory, in units of the hidden size: read and
# written by norms, projections, attention and MLP in bfloat16. An estimate.
_ACTIVATION_TRAFFIC = 2 * 2 * 24


@dataclasses.dataclass(frozen=True)
class Load:
    """The work in a global batch.

    Attributes:
      rows: number of rows, all of the same size.
      und: understanding tokens in all rows.
      gen: generation tokens in all rows.
      vit: ViT patches in all rows.
      pairs: visible (query, key) pairs in all rows.
      images: that the VAE encodes per row, empty ones included.
      image_flops: of encoding one image.
    """

    rows: int
    und: float
    gen: float
    vit: float
    pairs: float
    images: int
    image_flops: float


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One step.

    Attributes:
      model_flops: of all chips together, recomputation not counted.
      traffic: bytes received per chip, by axis and kind.
      seconds: of each limit: compute, memory, links (within a slice) and network (between slices).
      mfu: if a step takes as long as the slowest of them.
    """

    model_flops: float
    traffic: dict[str, float]
    seconds: dict[str, float]
    mfu: float

    @property
    def step_seconds(self) -> float:
        """The slowest of ``seconds``; everything else is hidden behind it."""
        return max(self.seconds.values())

    @property
    def bound(self) -> str:
        """The name of the slowest."""
        return max(self.seconds, key=lambda name: self.seconds[name])


def estimate(
    model: ModelConfig,
    execution: ExecutionConfig,
    weights: float,
    mesh: Mapping[str, int],
    topology: Topology,
    load: Load,
    optimizer_bytes: int,
    trained: float | None = None,
) -> Estimate:
    """Estimates a step, see the docstring of this module.

    Args:
      model: the architecture.
      execution: its ``remat`` and ``dtype`` are read.
      weights: number of weights.
      mesh: chips along each axis.
      topology: the chips.
      load: a global batch.
      optimizer_bytes: of both moments and the EMA, per weight.
      trained: how many of the weights are trained; all if not given.
    """
    trained = weights if trained is None else trained
    d, g, c, t = mesh["data"], mesh["fsdp"] * mesh["context"], mesh["context"], mesh["tensor"]
    decoder, chip = model.decoder, topology.chip
    size = jnp.dtype(execution.dtype).itemsize
    passes = 2 if execution.remat in ("none", "dots") else 3
    rows_share = 1 / (d * mesh["fsdp"])  # of all rows, per chip
    tokens = (load.und + load.gen) * rows_share
    traffic = {
        "weights gathered over fsdp x context": passes * size * weights / t * (g - 1) / g,
        "gradients scattered over fsdp x context": 4 * trained / t * (g - 1) / g,
        "gradients reduced over data": 2 * 4 * trained / (t * g) * (d - 1) / d,
        "keys and values over context": (passes + 2)
        * decoder.layers * tokens * 2 * decoder.kv_heads / t * decoder.head_dim * size * (c - 1) / c,
        "activations over tensor": 2 * passes * decoder.layers * tokens / c * decoder.hidden * size * 2 * (t - 1) / t,
    }  # fmt: skip
    flops = train_step_flops(model, und=load.und, gen=load.gen, vit=load.vit, pairs=load.pairs)
    # Chips that share the tokens of a row share its images, one at a time; tensor does not split them.
    encoded = load.rows * rows_share * -(-load.images // c) * load.image_flops
    executed = flops * (passes + 1) / 3 / topology.chips + encoded
    between_slices = traffic["gradients reduced over data"] if topology.slices > 1 else 0.0
    memory = (
        passes * 2 * size * weights / t
        + (4 * 4 + 2 * optimizer_bytes) * trained / (t * g)
        + passes * _ACTIVATION_TRAFFIC * decoder.layers * tokens / c * decoder.hidden
    )
    seconds = {
        "compute": executed / chip.flops,
        "memory": memory / chip.bandwidth,
        "links": (sum(traffic.values()) - between_slices) / chip.links,
        "network": between_slices / chip.network,
    }
    return Estimate(flops, traffic, seconds, flops / topology.chips / chip.flops / max(seconds.values()))


def kept_bytes(model: ModelConfig, execution: ExecutionConfig, rows: float, tokens: float) -> float:
    """Bytes per chip of the decoder's activations: those kept for the backward pass, and those of the current layer.

    Args:
      model: the architecture.
      execution: its ``remat``, ``dtype`` and ``logits_chunk`` are read.
      rows: per chip.
      tokens: of each row, per chip, padding included.
    """
    decoder = model.decoder
    size = jnp.dtype(execution.dtype).itemsize
    projections = 2 * decoder.hidden + 2 * (decoder.heads + decoder.kv_heads) * decoder.head_dim + 3 * decoder.mlp
    attention_out = decoder.heads * (decoder.head_dim * size + 4)
    by_layer = {
        "full": decoder.hidden * size,
        "attention": decoder.hidden * size + attention_out,
        "dots": decoder.hidden * size + projections * size + attention_out,
        "none": decoder.hidden * size + 2 * projections * size + attention_out,
        "offload": 0,
    }[execution.remat]
    one_layer = (2 * projections * size + attention_out) * rows * tokens
    logits = 2 * 4 * rows * execution.logits_chunk * decoder.vocab
    return rows * tokens * decoder.layers * by_layer + max(one_layer, logits)


def temporary_bytes(
    model: ModelConfig,
    execution: ExecutionConfig,
    weights: float,
    mesh: Mapping[str, int],
    load: Load,
    tokens: float,
    image_size: tuple[int, int],
    trained: float | None = None,
) -> float:
    """Bytes per chip that a step needs beside its state, by formula, for when nothing can be compiled.

    Activations (``kept_bytes``, and likewise of the ViT); the chip's shard of the gradients, and of the weights in the
    compute dtype; of two layers, the gathered weights and the gradients before they are scattered; of the embedding and
    the logits head, the gathered weights and one gradient; four arrays of the VAE's finest level, of one image.

    Args:
      model: the architecture.
      execution: its ``remat``, ``dtype`` and ``logits_chunk`` are read.
      weights: number of weights.
      mesh: chips along each axis.
      load: a global batch.
      tokens: of a row, padding included.
      image_size: (height, width) of the largest image in pixels.
      trained: how many of the weights are trained; all if not given. The others are stored in the compute dtype.
    """
    trained = weights if trained is None else trained
    t, c = mesh["tensor"], mesh["context"]
    shards, size = mesh["fsdp"] * c * t, jnp.dtype(execution.dtype).itemsize
    rows, vit = load.rows / (mesh["data"] * mesh["fsdp"]), model.vit
    table = model.decoder.vocab * model.decoder.hidden / t
    copy = size * trained / shards if size < 4 else 0.0
    finest = model.vae.width if isinstance(model.vae, FluxVAEConfig) else 3
    vit_patches = load.vit / load.rows * rows / c
    return (
        kept_bytes(model, execution, rows, tokens / c)
        + vit_patches * size * (vit.layers * vit.hidden + 2 * (6 * vit.hidden + 2 * vit.mlp))
        + 4 * trained / shards
        + copy
        + 2 * (size * weights + 4 * trained) / model.decoder.layers / t
        + (2 * size + 4) * table
        + 4 * 4 * image_size[0] * image_size[1] * finest
    )
