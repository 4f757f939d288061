"""The table between our weights and those of a published checkpoint: names, shapes, and which way round.

Published linear layers hold [out, in], ours [in, out]. Ours of all layers are one weight with the layers in front; a
published weight is of one layer. The two fixed sin-cos tables that a published checkpoint holds are no weights of ours.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from irg_jax.models.config import ModelConfig
from irg_jax.training.optimizer import weight_name
from irg_jax.training.state import graph_of


class Row(NamedTuple):
    """One row of the table.

    Attributes:
      ours: dotted name, as ``training.optimizer.weight_name`` gives it.
      published: key in the file; ``{layer}`` where ours is stacked.
      transposed: whether the two hold each other's transpose.
    """

    ours: str
    published: str
    transposed: bool = False

    @property
    def stacked(self) -> bool:
        """Whether ours holds all layers."""
        return "{layer}" in self.published


class Slot(NamedTuple):
    """Where one published weight goes.

    Attributes:
      key: published name.
      row: of the table.
      layer: its place on the first axis of ours, or None where ours is not stacked.
      shape: in the file.
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
GENERATION = "_moe_gen"  # marks the generation expert's weights


def _expert(ours: str, marked: str) -> list[Row]:
    layer, attention, mlp = f"{LLM}.layers.{{layer}}", f"{LLM}.layers.{{layer}}.self_attn", f"mlp{marked}"
    return [
        *_rms_norm(f"{ours}.attention_norm", f"{layer}.input_layernorm{marked}"),
        *_linear(f"{ours}.q", f"{attention}.q_proj{marked}"),
        *_linear(f"{ours}.k", f"{attention}.k_proj{marked}"),
        *_linear(f"{ours}.v", f"{attention}.v_proj{marked}"),
        *_kernel(f"{ours}.o", f"{attention}.o_proj{marked}"),
        *_rms_norm(f"{ours}.q_norm", f"{attention}.q_norm{marked}"),
        *_rms_norm(f"{ours}.k_norm", f"{attention}.k_norm{marked}"),
        *_rms_norm(f"{ours}.mlp_norm", f"{layer}.post_attention_layernorm{marked}"),
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

# Checked against the formula and not stored.
LATENT_POSITION, VIT_POSITION = "latent_pos_embed.pos_embed", "vit_pos_embed.pos_embed"


@functools.cache
def shapes(model: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """The shape of every weight of a model, by our name. Raises ValueError where the table has not exactly those."""
    weights = jax.tree_util.tree_leaves_with_path(graph_of(model)[1])
    found = {weight_name(path): leaf.shape for path, leaf in weights}
    if found.keys() != ROWS.keys():
        raise ValueError(f"the table and the model have different weights: {sorted(found.keys() ^ ROWS.keys())}")
    return found


@functools.cache
def slots(model: ModelConfig) -> Mapping[str, Slot]:
    """Every weight that a published checkpoint of this model holds, by its key, in the order of the table."""
    of_model = shapes(model)
    return {slot.key: slot for row in TABLE for slot in row_slots(row, of_model[row.ours])}


def row_slots(row: Row, shape: tuple[int, ...]) -> Iterator[Slot]:
    """The published weights of one of ours.

    Args:
      row: of the table.
      shape: of our weight, layers included.
    """
    if not row.stacked:
        yield Slot(row.published, row, None, shape[::-1] if row.transposed else shape)
        return
    inner = shape[:0:-1] if row.transposed else shape[1:]
    for layer in range(shape[0]):
        yield Slot(row.published.format(layer=layer), row, layer, inner)


def fixed_tables(model: ModelConfig) -> dict[str, tuple[int, int]]:
    """The fixed tables of a published checkpoint: side in patches and width, by key."""
    return {
        LATENT_POSITION: (model.max_latent_size, model.decoder.hidden),
        VIT_POSITION: (model.vit.patches_per_side, model.decoder.hidden),
    }


def fixed_table(side: int, size: int) -> np.ndarray:
    """The values of a fixed table, float32 [side², size]; ``models.embeddings.position_2d`` in double precision.

    Published tables were made in double precision and then rounded, so that this gives their very bits.

    Args:
      side: of the table, in patches; place is row·side + column.
      size: of an embedding.
    """
    quarter = size // 4
    frequencies = 1.0 / 10000.0 ** (np.arange(quarter, dtype=np.float64) / quarter)
    angles = np.arange(side, dtype=np.float64)[:, None] * frequencies
    one = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)
    column, row = np.broadcast_to(one, (side, *one.shape)), np.broadcast_to(one[:, None], (side, *one.shape))
    return np.concatenate([column, row], axis=-1).reshape(side * side, size)
