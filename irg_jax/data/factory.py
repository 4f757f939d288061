"""Builds the processor, the sources and the packed rows from the ``data`` section of a config."""

import dataclasses
from collections.abc import Callable

from irg_jax.core.errors import ConfigError
from irg_jax.core.geometry import TokenGeometry
from irg_jax.data import modes
from irg_jax.data.config import DataConfig, MixtureEntry, ProcessorConfig, SourceConfig
from irg_jax.data.conversation import Source
from irg_jax.data.images import ImageTransform
from irg_jax.data.index import scan
from irg_jax.data.index.conversations import ConversationSamples
from irg_jax.data.index.samples import Samples
from irg_jax.data.index.store import StoredIndex
from irg_jax.data.index.trajectories import ModeSamples
from irg_jax.data.latents import header
from irg_jax.data.latents.source import Latents, ModeSourceWithLatents, open_latents
from irg_jax.data.packing.layout import Budgets
from irg_jax.data.pipeline import MixtureSource, PackedRows
from irg_jax.data.processor import Processor
from irg_jax.data.rejected import use_without
from irg_jax.data.sources import editing, irgl, llava, text_to_image, trajectories, webdataset
from irg_jax.data.sources.trajectories import ModeSource, TrajectorySource
from irg_jax.data.tokenizer import Tokenizer

# How the data sets without trajectories are opened, by format.
CONVERSATIONS: dict[str, Callable[..., Source]] = {
    "text_to_image": text_to_image.open_source,
    "webdataset": webdataset.open_source,
    "editing": editing.open_source,
    "llava": llava.open_source,
}


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
    resize = config.resize if isinstance(config, DataConfig) else "exact"
    vae = ImageTransform(config.vae_image.max_size, config.vae_image.min_size, geometry.vae_stride, resize=resize)
    vit = ImageTransform(config.vit_image.max_size, config.vit_image.min_size, geometry.vit_patch, resize=resize)
    tables = (("vae_image", vae, geometry.max_latent_size), ("vit_image", vit, geometry.vit_patches_per_side))
    for name, transform, side in tables:
        if transform.max_size % transform.stride or transform.max_size > side * transform.stride:
            raise ConfigError(
                f"data.{name}.max_size",
                f"{transform.max_size} must be a multiple of {transform.stride} and at most "
                f"{side * transform.stride}, the side of the position table",
            )
    return Processor(tokenizer, vae, vit)


def make_budgets(config: DataConfig, geometry: TokenGeometry) -> Budgets:
    """The fixed size of a packed row."""
    edge = config.vae_image.max_size
    sizes = dataclasses.asdict(config.budgets)
    side = edge // geometry.vae_stride * geometry.latent_patch
    moments = (side, side, 2 * geometry.latent_channels) if config.latents else None
    return Budgets(**sizes, image_size=(edge, edge), vit_patch=3 * geometry.vit_patch**2, moments=moments)


def make_packed_rows(
    config: DataConfig,
    geometry: TokenGeometry,
    split: str = "train",
    vae: str = "",
) -> PackedRows:
    """Opens the indices of the data sets, makes those that are missing, and plans the packing.

    Args:
      config: the ``data`` section.
      geometry: of the model.
      split: ``train`` or ``held_out``, of data sets of trajectories; all others have no splits, and are read whole.
      vae: digest of the VAE, which latents that were computed ahead have to be of.

    Raises:
      UserError: a missing or damaged data set, a bad record, an invalid mixture, latents of another VAE.
    """
    processor = make_processor(config, geometry)
    mixture = make_mixture(config, processor, split, vae)
    stores = [entry.source.latents for entry in mixture if isinstance(entry.source, ModeSourceWithLatents)]
    return PackedRows(
        mixture,
        processor=processor,
        budgets=make_budgets(config, geometry),
        max_sample_tokens=config.max_sample_tokens,
        dropout=config.dropout,
        rows_per_pack=config.rows_per_pack,
        seed=config.seed,
        geometry=geometry,
        latents=" ".join(dict.fromkeys(store.about.digest for store in stores)),
        replaces=config.on_error == "replace",
    )


def make_mixture(config: DataConfig, processor: Processor, split: str, vae: str = "") -> list[MixtureSource]:
    """The learning modes of a mixture with their sources and indices; see ``make_packed_rows``."""
    opened: dict[str, _Trajectories] = {}  # one index serves all modes of a data set of trajectories
    mixture = []
    labels = [entry.mode for entry in config.mixture]
    for entry in config.mixture:
        source, samples = _open(config, entry, processor, split, vae, opened)
        # The same mode of two data sets has a loss of its own for each.
        name = entry.mode if labels.count(entry.mode) == 1 else f"{entry.mode}@{entry.source}"
        mixture.append(MixtureSource(name, entry.weight, entry.mandatory, source, samples))
    return mixture


@dataclasses.dataclass(frozen=True)
class _Trajectories:
    source: TrajectorySource
    index: StoredIndex
    latents: Latents | None


def _open(
    config: DataConfig,
    entry: MixtureEntry,
    processor: Processor,
    split: str,
    vae: str,
    opened: dict[str, _Trajectories],
) -> tuple[Source, Samples]:
    where = config.sources[entry.source]
    replaces = config.on_error == "replace"
    if where.format == "irgl":
        if entry.source not in opened:
            opened[entry.source] = _open_trajectories(where, split, processor, replaces, vae)
        assert config.initial_target and config.thinking1  # DataConfig requires both for this format
        mode = modes.learning_mode(entry.mode, config.initial_target, config.thinking1)
        found = opened[entry.source]
        source: Source = ModeSource(found.source, mode)
        if found.latents is not None:
            source = ModeSourceWithLatents(found.source, mode, found.latents)
        return source, ModeSamples(found.index.arrays["rows"], mode, processor)
    published = where.format == "published"
    source = irgl.open_source(where.dir, entry.mode) if published else CONVERSATIONS[where.format](where.dir)
    name = entry.mode if published else where.format
    index = scan.index_conversations(source, where.dir, name, processor.tokenizer)
    use_without(index, len(source), name, replaces)
    return source, ConversationSamples(index.arrays["samples"], index.arrays["parts"], processor)


def _open_trajectories(
    where: SourceConfig, split: str, processor: Processor, replaces: bool, vae: str
) -> _Trajectories:
    source = trajectories.open_source(where.dir, split)
    index = scan.index_trajectories(source, split, processor.tokenizer)
    use_without(index, len(source), split, replaces)
    latents = None
    if where.latents:
        wanted = {
            "vae": vae,
            "transform": header.describe(processor.vae_transform),
            "data": header.fingerprint(index.arrays["rows"]),
        }
        latents = open_latents(where.latents, split, wanted)
    return _Trajectories(source, index, latents)
