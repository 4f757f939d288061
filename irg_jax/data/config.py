"""The ``data`` section of a config."""

import dataclasses
import math
from typing import Literal, NamedTuple

from irg_jax.core.config.ranges import above, at_least, within
from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import check
from irg_jax.data import modes


@dataclasses.dataclass(frozen=True)
class ImageSizeConfig:
    """Bounds of an image transform, in pixels.

    Attributes:
      max_size: of the long edge.
      min_size: of the short edge.
    """

    max_size: int
    min_size: int

    def __post_init__(self) -> None:
        at_least(self, 1, "min_size")
        at_least(self, self.min_size, "max_size")


@dataclasses.dataclass(frozen=True)
class WorldConfig:
    """The generated data set, built if it is missing.

    Attributes:
      seed: of its records.
      train: training records.
      held_out: held-out records; only trajectories (format irgl) have any.
      vocab: ids of the tokenizer trained on it.
      size: side of its pictures in pixels, a multiple of 16 from 32 up.
      manners: benchmarks in whose manner the prompts ask: geneval, wise, tiif, genai_bench, oneig.
    """

    seed: int
    train: int
    held_out: int
    vocab: int
    size: int = 32
    manners: tuple[str, ...] = ("geneval",)

    def __post_init__(self) -> None:
        at_least(self, 0, "seed")
        at_least(self, 1, "train", "held_out", "vocab")


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """A data set on disk.

    Attributes:
      format: ``irgl``: trajectories, as ``irg_jax.build_data`` writes them; ``published``: the six folders of parquet
        files as IRGL was published; ``text_to_image``, ``editing``: parquet files, ``webdataset``: tar files,
        ``llava``: a JSONL file, as BAGEL reads them.
      dir: folder of the data set.
      latents: irgl only: folder of ``irg_jax.encode_latents``, whose latents are read instead of encoding images in
        the step; empty for none.
      world: not for published and webdataset: the generated data set to build if ``dir`` is missing, trajectories or
        the short samples of a base model; None builds nothing.
    """

    format: Literal["irgl", "published", "text_to_image", "webdataset", "editing", "llava"]
    dir: str
    world: WorldConfig | None = None
    latents: str = ""

    def __post_init__(self) -> None:
        built = self.format not in ("published", "webdataset")
        check(built or self.world is None, "world", f"format {self.format} is never built; set it to None")
        check(self.format == "irgl" or not self.latents, "latents", f"format {self.format} has none; leave it empty")


class MixtureEntry(NamedTuple):
    """One learning mode of one data set.

    Attributes:
      source: a name in ``DataConfig.sources``.
      mode: a name in ``modes.MODES`` for the formats irgl and published; else a name for logs.
      weight: its share of the samples, relative to the others.
      mandatory: whether every pack holds at least one sample of it.
    """

    source: str
    mode: str
    weight: float
    mandatory: bool


@dataclasses.dataclass(frozen=True)
class DropoutConfig:
    """Probabilities of dropping a condition (a part without loss), for classifier-free guidance."""

    text: float = 0.0
    vit: float = 0.0
    vae: float = 0.0

    def __post_init__(self) -> None:
        for name, rate in dataclasses.asdict(self).items():
            check(0 <= rate <= 1, name, f"{rate} must be a probability, from 0 to 1")


@dataclasses.dataclass(frozen=True)
class BudgetConfig:
    """Tokens of a packed row.

    Attributes:
      und: understanding tokens.
      gen: generation tokens.
      vit: ViT patches.
      images: images that go through the VAE.
    """

    und: int
    gen: int
    vit: int
    images: int

    def __post_init__(self) -> None:
        at_least(self, 1, "und", "gen", "vit", "images")


@dataclasses.dataclass(frozen=True)
class ProcessorConfig:
    """What turns texts and images into tokens.

    Attributes:
      tokenizer: folder with a tokenizer in Qwen2's file format.
      vae_image: image sizes for the VAE.
      vit_image: image sizes for the ViT.
    """

    tokenizer: str
    vae_image: ImageSizeConfig
    vit_image: ImageSizeConfig


@dataclasses.dataclass(frozen=True)
class DataConfig(ProcessorConfig):
    """Data sets, mixture and packing; see ``configs/template.py`` for the values.

    Attributes:
      sources: the data sets by name.
      seed: of the order of the samples and of condition dropout.
      mixture: learning modes with their weights.
      initial_target: irgl only: which image ``initial_full_learning`` generates, a name in ``modes.INITIAL_TARGETS``.
      thinking1: irgl only: a name in ``modes.THINKING1``.
      dropout: condition dropout.
      batch_size: packed rows in a global batch.
      rows_per_pack: rows that hold every mandatory mode together.
      budgets: the fixed size of a row.
      max_sample_tokens: longer samples are left out of the plan and logged.
      on_error: what to do about a record that cannot be used: ``stop``, or ``replace`` it by another one, by name and
        in a bounded number of cases.
      resize: ``exact`` to the pixel of the published code, or ``simd``: within two levels and several times faster.
      workers: processes that read and build rows; 0 for none.
      threads: threads that do it where there are no processes.
      buffer_gb: GB (1e9 bytes) of rows that are built ahead.
    """

    sources: dict[str, SourceConfig]
    seed: int
    mixture: tuple[MixtureEntry, ...]
    initial_target: Literal["draft", "good"] | None
    thinking1: Literal["plan", "none"] | None
    dropout: DropoutConfig
    batch_size: int
    rows_per_pack: int
    budgets: BudgetConfig
    max_sample_tokens: int
    on_error: Literal["stop", "replace"]
    resize: Literal["exact", "simd"]
    workers: int
    threads: int
    buffer_gb: float

    def __post_init__(self) -> None:
        check(self.sources, "sources", "no data set is listed; list at least one")
        check(
            self.mixture, "mixture", "no learning mode is listed; list at least one (source, mode, weight, mandatory)"
        )
        seen = set()
        for entry in self.mixture:
            check(
                entry.source in self.sources,
                "mixture",
                f"{entry.mode} is of the unknown source {entry.source!r}{did_you_mean(entry.source, self.sources)}; "
                f"known ones are {', '.join(self.sources)}",
            )
            if self.sources[entry.source].format in ("irgl", "published"):
                modes.check_mode(entry.mode)
            weight = f"the weight of {entry.mode} is {entry.weight}; it must be finite and > 0"
            check(0 < entry.weight < math.inf, "mixture", weight)
            check(entry[:2] not in seen, "mixture", f"{entry.mode} is listed twice; add up its weights")
            seen.add(entry[:2])
        without = [entry.source for entry in self.mixture if not self.sources[entry.source].latents]
        check(
            not without or not self.latents,
            f"sources.{without[0]}.latents" if without else "sources",
            "is empty, but other data sets of the mixture have latents; give all of them latents, or none",
        )
        for name in ("initial_target", "thinking1"):
            needed = any(source.format == "irgl" for source in self.sources.values())
            check(not needed or getattr(self, name) is not None, name, "format irgl needs it, but it is None")
        within(self, 0, 2**32 - 1, "seed")
        at_least(self, 1, "batch_size", "rows_per_pack", "max_sample_tokens", "threads")
        at_least(self, 0, "workers")
        above(self, 0, "buffer_gb")

    @property
    def latents(self) -> bool:
        """Whether images come as latents that were computed ahead."""
        return any(self.sources[entry.source].latents for entry in self.mixture)
