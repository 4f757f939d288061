"""The table from our weights to those of a published checkpoint: names, shapes, transposition.

Published linear layers are [out, in], ours [in, out]. We stack the weights of all layers on a first axis; a published
weight belongs to one layer. A published checkpoint also has two fixed sin-cos position tables, which we compute.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from irg_jax.core.tree import weight_name
from irg_jax.models.config import ModelConfig
from irg_jax.models.transformer import abstract_model


class Row(NamedTuple):
    """One row of the table.

    Attributes:
      ours: dotted name, as of ``core.tree.weight_name``.
      published: key in the file; with ``{layer}`` if ours is stacked.
      transposed: whether one is the transpose of the other.
    """

    ours: str
    published: str
    transposed: bool = False

    @property
    def stacked(self) -> bool:
        """Whether our weight has all layers on its first axis."""
        return "{layer}" in self.published


class WeightSlot(NamedTuple):
    """The part of our weight that one published weight fills.

    Attributes:
      key: published name.
      row: row of the table.
      layer: index on the first axis of our weight, or None if ours is not stacked.
      shape: shape in the file.
    """

    key: str
    row: Row
    layer: int | None
    shape: tuple[int, ...]


def _kernel(ours: str, published: str) -> list[Row]:
    return [Row(f"{ours}.kernel", f"{published}.weight", transposed=True)]


def _linear(ours: str, published: str) -> list[Row]:
    return [*_kernel(ours, published), Row(f"{ours}.bias", f"{published}.bias")]


def _rms_norm(ours: str, published: str) -> list[Row]:
    return [Row(f"{ours}.scale", f"{published}.weight")]


def _layer_norm(ours: str, published: str) -> list[Row]:
    return [*_rms_norm(ours, published), Row(f"{ours}.bias", f"{published}.bias")]


LLM, VIT = "language_model.model", "vit_model.vision_model"
EMBEDDING, HEAD = f"{LLM}.embed_tokens.weight", "language_model.lm_head.weight"
GENERATION = "_moe_gen"  # suffix of the generation expert's weights


def _expert(ours: str, suffix: str) -> list[Row]:
    layer, attention, mlp = f"{LLM}.layers.{{layer}}", f"{LLM}.layers.{{layer}}.self_attn", f"mlp{suffix}"
    return [
        *_rms_norm(f"{ours}.attention_norm", f"{layer}.input_layernorm{suffix}"),
        *_linear(f"{ours}.q", f"{attention}.q_proj{suffix}"),
        *_linear(f"{ours}.k", f"{attention}.k_proj{suffix}"),
        *_linear(f"{ours}.v", f"{attention}.v_proj{suffix}"),
        *_kernel(f"{ours}.o", f"{attention}.o_proj{suffix}"),
        *_rms_norm(f"{ours}.q_norm", f"{attention}.q_norm{suffix}"),
        *_rms_norm(f"{ours}.k_norm", f"{attention}.k_norm{suffix}"),
        *_rms_norm(f"{ours}.mlp_norm", f"{layer}.post_attention_layernorm{suffix}"),
        *_kernel(f"{ours}.gate", f"{layer}.{mlp}.gate_proj"),
        *_kernel(f"{ours}.up", f"{layer}.{mlp}.up_proj"),
        *_kernel(f"{ours}.down", f"{layer}.{mlp}.down_proj"),
    ]


TABLE: tuple[Row, ...] = (
    # --- decoder
    Row("embedding", EMBEDDING),
    *_expert("blocks.und", ""),
    *_expert("blocks.gen", GENERATION),
    *_rms_norm("und_norm", f"{LLM}.norm"),
    *_rms_norm("gen_norm", f"{LLM}.norm{GENERATION}"),
    Row("lm_head.kernel", HEAD, transposed=True),
    # --- generation tokens
    *_linear("vae2llm", "vae2llm"),
    *_linear("llm2vae", "llm2vae"),
    *_linear("time.up", "time_embedder.mlp.0"),
    *_linear("time.down", "time_embedder.mlp.2"),
    # --- ViT tokens
    *_linear("connector.up", "connector.fc1"),
    *_linear("connector.down", "connector.fc2"),
    *_linear("vit.patch", f"{VIT}.embeddings.patch_embedding"),
    Row("vit.position", f"{VIT}.embeddings.position_embedding.weight"),
    *_layer_norm("vit.blocks.norm1", f"{VIT}.encoder.layers.{{layer}}.layer_norm1"),
    *_linear("vit.blocks.q", f"{VIT}.encoder.layers.{{layer}}.self_attn.q_proj"),
    *_linear("vit.blocks.k", f"{VIT}.encoder.layers.{{layer}}.self_attn.k_proj"),
    *_linear("vit.blocks.v", f"{VIT}.encoder.layers.{{layer}}.self_attn.v_proj"),
    *_linear("vit.blocks.o", f"{VIT}.encoder.layers.{{layer}}.self_attn.out_proj"),
    *_layer_norm("vit.blocks.norm2", f"{VIT}.encoder.layers.{{layer}}.layer_norm2"),
    *_linear("vit.blocks.up", f"{VIT}.encoder.layers.{{layer}}.mlp.fc1"),
    *_linear("vit.blocks.down", f"{VIT}.encoder.layers.{{layer}}.mlp.fc2"),
    *_layer_norm("vit.norm", f"{VIT}.post_layernorm"),
)
ROWS = {row.ours: row for row in TABLE}

# The fixed tables: checked against the formula and not stored.
LATENT_POSITION, VIT_POSITION = "latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"


@functools.cache
def shapes(model: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """The shape of every weight of a model, by our name. Raises ValueError if the table has other weights."""
    weights = jax.tree_util.tree_leaves_with_path(abstract_model(model)[1])
    found = {weight_name(path): leaf.shape for path, leaf in weights}
    if found.keys() != ROWS.keys():
        raise ValueError(f"the table and the model have different weights: {sorted(found.keys() ^ ROWS.keys())}")
    return found


@functools.cache
def slots(model: ModelConfig) -> Mapping[str, WeightSlot]:
    """The slots of all weights in a published checkpoint of this model, by key, in the order of the table."""
    ours = shapes(model)
    return {slot.key: slot for row in TABLE for slot in row_slots(row, ours[row.ours])}


def row_slots(row: Row, shape: tuple[int, ...]) -> Iterator[WeightSlot]:
    """The slots of one of our weights.

    Args:
      row: row of the table.
      shape: shape of our weight, with the layers.
    """
    if not row.stacked:
        yield WeightSlot(row.published, row, None, shape[::-1] if row.transposed else shape)
        return
    inner = shape[:0:-1] if row.transposed else shape[1:]
    for layer in range(shape[0]):
        yield WeightSlot(row.published.format(layer=layer), row, layer, inner)


def fixed_tables(model: ModelConfig) -> dict[str, tuple[int, int]]:
    """(side in patches, embedding size) of the fixed tables of a published checkpoint, by key."""
    return {
        LATENT_POSITION: (model.max_latent_size, model.decoder.hidden),
        VIT_POSITION: (model.vit.patches_per_side, model.decoder.hidden),
    }


def fixed_table(side: int, size: int) -> np.ndarray:
    """Computes a fixed sin-cos table, float32 [side², size]: ``models.embeddings.position_2d`` in double precision.

    The published tables were computed in double precision and rounded, so the result has exactly their bits.

    Args:
      side: side of the table, in patches; a position is row·side + column.
      size: embedding size.
    """
    quarter = size // 4
    frequencies = 1.0 / 10000.0 ** (np.arange(quarter, dtype=np.float64) / quarter)
    angles = np.arange(side, dtype=np.float64)[:, None] * frequencies
    axis = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)
    column, row = np.broadcast_to(axis, (side, *axis.shape)), np.broadcast_to(axis[:, None], (side, *axis.shape))
    return np.concatenate([column, row], axis=-1).reshape(side * side, size)
