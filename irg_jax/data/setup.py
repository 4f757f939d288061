"""From the ``data`` section of a config to packed rows: data set, tokenizer, mixture, budgets."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from irg_jax.data import irgl, modes, packing, tokenizer
from irg_jax.data.conversation import Conversation, MappedSource, Source
from irg_jax.data.images import ImageTransform
from irg_jax.data.layout import Budgets, Vocabulary
from irg_jax.data.pipeline import MixtureRow, PackedRows
from irg_jax.data.shapes import dataset as shapes
from irg_jax.data.trajectory import Trajectory
from irg_jax.errors import UserError
from irg_jax.sections import build


class VocabularySize(Protocol):
    """The embedding's part of ``Geometry``."""

    @property
    def vocab(self) -> int:
        """Rows of the embedding."""


class PatchGeometry(Protocol):
    """The ViT's part of ``Geometry``."""

    @property
    def patch(self) -> int:
        """Pixels a patch's side."""

    @property
    def patches_per_side(self) -> int:
        """Side of the ViT's position table."""


class Geometry(Protocol):
    """All that packing has to know of a model; ``models.config.ModelConfig`` has it."""

    @property
    def vae_stride(self) -> int:
        """Pixels a generation token's side."""

    @property
    def max_latent_size(self) -> int:
        """Side of the latent position table, in patches."""

    @property
    def vit(self) -> PatchGeometry:
        """Of the image encoder."""

    @property
    def decoder(self) -> VocabularySize:
        """Of the decoder."""


def prepare(data: Any) -> None:
    """Builds what a run reads and does not find: the shapes world and its tokenizer. Quick where both stand already.

    Raises:
      UserError: a data set of other settings stands in the folder, or the disk refuses.
    """
    if data.format == "shapes" and data.world is not None:
        shapes.build(data.dir, seed=data.world.seed, train=data.world.train, held_out=data.world.held_out)
        if not (Path(data.tokenizer) / "tokenizer.json").exists():
            logging.info("training a tokenizer of %d ids on %s", data.world.vocab, data.dir)
            trajectories = shapes.open_source(data.dir, "train")
            tokenizer.train(_texts(trajectories), data.world.vocab, data.tokenizer)


def _texts(trajectories: Source[Trajectory]) -> list[str]:
    texts = [modes.INITIAL_QUESTION, modes.IMPROVING_QUESTION]
    for trajectory in (trajectories[i] for i in range(len(trajectories))):
        texts += [trajectory.prompt, trajectory.thinking1, trajectory.thinking2]
    return texts


def vocabulary(data: Any, model: Geometry) -> Vocabulary:
    """The tokenizer and both image transforms of a run.

    Raises:
      UserError: no tokenizer, or one that has more ids than the model's embedding has rows.
    """
    tokens = tokenizer.Tokenizer(data.tokenizer)
    if tokens.size > model.decoder.vocab:
        raise UserError(
            f"model.decoder.vocab: {model.decoder.vocab} rows, but {data.tokenizer} has {tokens.size} ids; raise it"
        )
    vae = ImageTransform(data.vae_image.max_size, data.vae_image.min_size, model.vae_stride)
    vit = ImageTransform(data.vit_image.max_size, data.vit_image.min_size, model.vit.patch)
    sides = (("vae_image", vae, model.max_latent_size), ("vit_image", vit, model.vit.patches_per_side))
    for name, transform, side in sides:
        if transform.max_size % transform.stride or transform.max_size > side * transform.stride:
            raise UserError(
                f"data.{name}.max_size: {transform.max_size} must be a multiple of {transform.stride} and at most "
                f"{side * transform.stride}, the side of the position table"
            )
    return Vocabulary(tokens, vae, vit)


def _shapes(data: Any, mode: str) -> Source[Conversation]:
    if data.thinking1 not in modes.THINKING1:
        raise UserError(f"data.thinking1: {data.thinking1!r} is none of {', '.join(modes.THINKING1)}")
    function = modes.learning_mode(mode, data.initial_target)
    return MappedSource(MappedSource(shapes.open_source(data.dir, "train"), modes.THINKING1[data.thinking1]), function)


def _irgl(data: Any, mode: str) -> Source[Conversation]:
    return irgl.open_source(data.dir, mode)


FORMATS: dict[str, Callable[[Any, str], Source[Conversation]]] = {"shapes": _shapes, "irgl": _irgl}


def check(data: Any) -> None:
    """Refuses a data section that no data set could make right.

    Raises:
      UserError: an unknown format, or a mixture that names an unknown mode or a mode twice.
    """
    if data.format not in FORMATS:
        raise UserError(f"data.format: {data.format!r} is none of {', '.join(FORMATS)}")
    seen = set()
    for row in data.mixture:
        if len(row) != 3:
            raise UserError(f"data.mixture: {row!r} must be (mode, weight, mandatory)")
        modes.check(row[0])
        if row[0] in seen:
            raise UserError(f"data.mixture: {row[0]} is listed twice; add up its weights")
        seen.add(row[0])


def budgets(data: Any, model: Geometry) -> Budgets:
    """The fixed size of a row. Raises UserError for an unknown or missing budget."""
    edge = data.vae_image.max_size
    sizes = {"image_size": (edge, edge), "vit_patch": 3 * model.vit.patch**2}
    return build(Budgets, {**data.budgets, **sizes}, "data.budgets")


def packed_rows(data: Any, model: Geometry, *, length: int) -> PackedRows:
    """Indexes the training split and plans its packing.

    Args:
      data: the ``data`` section of a config.
      model: the model's shape: strides and position tables.
      length: rows that the run reads.

    Raises:
      UserError: a missing or damaged data set, a bad record, a mixture that cannot be.
    """
    check(data)
    mixture = [
        MixtureRow(mode, weight, mandatory, FORMATS[data.format](data, mode))
        for mode, weight, mandatory in data.mixture
    ]
    words = vocabulary(data, model)
    dropout = build(packing.Dropout, data.dropout, "data.dropout")
    return PackedRows(
        mixture,
        vocabulary=words,
        budgets=budgets(data, model),
        max_sample_tokens=data.max_sample_tokens,
        dropout=dropout,
        rows_per_pack=data.rows_per_pack,
        seed=data.seed,
        length=length,
        max_latent_size=model.max_latent_size,
        vit_patches_per_side=model.vit.patches_per_side,
    )
