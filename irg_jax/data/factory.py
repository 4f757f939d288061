"""Builds the processor, the sources and the packed rows from the ``data`` section of a config."""

import dataclasses
from collections.abc import Callable

from irg_jax.core.errors import ConfigError
from irg_jax.core.geometry import TokenGeometry
from irg_jax.data import modes
from irg_jax.data.config import DataConfig, ProcessorConfig
from irg_jax.data.conversation import Conversation, MappedSource, Source
from irg_jax.data.images import ImageTransform
from irg_jax.data.packing.layout import Budgets
from irg_jax.data.pipeline import MixtureSource, PackedRows
from irg_jax.data.processor import Processor
from irg_jax.data.sources import irgl, trajectories
from irg_jax.data.tokenizer import Tokenizer


def make_processor(config: ProcessorConfig, geometry: TokenGeometry) -> Processor:
    """The tokenizer and both image transforms of a run.

    Raises:
      UserError: no tokenizer, more ids than the embedding has rows, or image sizes beyond a position table.
    """
    tokenizer = Tokenizer(config.tokenizer)
    if tokenizer.size > geometry.vocab:
        raise ConfigError(
            "model.decoder.vocab",
            f"{geometry.vocab} rows, but {config.tokenizer} has {tokenizer.size} ids; raise it",
        )
    vae = ImageTransform(config.vae_image.max_size, config.vae_image.min_size, geometry.vae_stride)
    vit = ImageTransform(config.vit_image.max_size, config.vit_image.min_size, geometry.vit_patch)
    tables = (("vae_image", vae, geometry.max_latent_size), ("vit_image", vit, geometry.vit_patches_per_side))
    for name, transform, side in tables:
        if transform.max_size % transform.stride or transform.max_size > side * transform.stride:
            raise ConfigError(
                f"data.{name}.max_size",
                f"{transform.max_size} must be a multiple of {transform.stride} and at most "
                f"{side * transform.stride}, the side of the position table",
            )
    return Processor(tokenizer, vae, vit)


def _shapes(config: DataConfig, mode: str, split: str) -> Source[Conversation]:
    assert config.thinking1 and config.initial_target  # DataConfig requires both for this format
    records = MappedSource(trajectories.open_source(config.dir, split), modes.THINKING1[config.thinking1])
    return MappedSource(records, modes.learning_mode(mode, config.initial_target))


def _irgl(config: DataConfig, mode: str, split: str) -> Source[Conversation]:
    return irgl.open_source(config.dir, mode)


FORMATS: dict[str, Callable[[DataConfig, str, str], Source[Conversation]]] = {"shapes": _shapes, "irgl": _irgl}


def make_budgets(config: DataConfig, geometry: TokenGeometry) -> Budgets:
    """The fixed size of a packed row."""
    edge = config.vae_image.max_size
    sizes = dataclasses.asdict(config.budgets)
    return Budgets(**sizes, image_size=(edge, edge), vit_patch=3 * geometry.vit_patch**2)


def make_packed_rows(config: DataConfig, geometry: TokenGeometry, *, length: int, split: str = "train") -> PackedRows:
    """Indexes a split and plans its packing.

    Args:
      config: the ``data`` section.
      geometry: of the model.
      length: rows that the run reads.
      split: ``train`` or ``held_out``; folders of format ``irgl`` have no splits, and are read whole.

    Raises:
      UserError: a missing or damaged data set, a bad record, an invalid mixture.
    """
    mixture = [MixtureSource(*entry, FORMATS[config.format](config, entry.mode, split)) for entry in config.mixture]
    return PackedRows(
        mixture,
        processor=make_processor(config, geometry),
        budgets=make_budgets(config, geometry),
        max_sample_tokens=config.max_sample_tokens,
        dropout=config.dropout,
        rows_per_pack=config.rows_per_pack,
        seed=config.seed,
        length=length,
        geometry=geometry,
    )
