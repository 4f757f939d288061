"""The ``data`` section of a config."""

import dataclasses
import math
from typing import Literal, NamedTuple

from irg_jax.core.config.ranges import at_least, within
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
      held_out: held-out records.
      vocab: ids of the tokenizer trained on it.
    """

    seed: int
    train: int
    held_out: int
    vocab: int

    def __post_init__(self) -> None:
        at_least(self, 0, "seed")
        at_least(self, 1, "train", "held_out", "vocab")


class MixtureEntry(NamedTuple):
    """One learning mode of a mixture.

    Attributes:
      mode: a name in ``modes.MODES``.
      weight: its share of the samples, relative to the others.
      mandatory: whether every pack holds at least one sample of it.
    """

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
    """Data set, mixture and packing; see ``configs/template.py`` for the values.

    Attributes:
      format: ``shapes``: a TFDS data set of trajectories; ``irgl``: the published folders of parquet files.
      dir: folder of the data set.
      world: shapes only: what to build if ``dir`` is missing; None builds nothing.
      seed: of the order of the samples and of condition dropout.
      mixture: learning modes with their weights.
      initial_target: shapes only: which image ``initial_full_learning`` generates, a name in ``modes.INITIAL_TARGETS``.
      thinking1: shapes only: a name in ``modes.THINKING1``.
      dropout: condition dropout.
      batch_size: packed rows in a global batch.
      rows_per_pack: rows that hold every mandatory mode together.
      budgets: the fixed size of a row.
      max_sample_tokens: longer samples are left out of the plan and logged.
      threads: threads that read and build rows.
    """

    format: Literal["shapes", "irgl"]
    dir: str
    world: WorldConfig | None
    seed: int
    mixture: tuple[MixtureEntry, ...]
    initial_target: Literal["draft", "good"] | None
    thinking1: Literal["plan", "none"] | None
    dropout: DropoutConfig
    batch_size: int
    rows_per_pack: int
    budgets: BudgetConfig
    max_sample_tokens: int
    threads: int

    def __post_init__(self) -> None:
        check(self.mixture, "mixture", "no learning mode is listed; list at least one (mode, weight, mandatory)")
        seen = set()
        for entry in self.mixture:
            modes.check_mode(entry.mode)
            weight = f"the weight of {entry.mode} is {entry.weight}; it must be finite and > 0"
            check(0 < entry.weight < math.inf, "mixture", weight)
            check(entry.mode not in seen, "mixture", f"{entry.mode} is listed twice; add up its weights")
            seen.add(entry.mode)
        for name in ("world", "initial_target", "thinking1"):
            given = getattr(self, name) is not None
            check(self.format == "shapes" or not given, name, "only format shapes takes it; set it to None")
            check(self.format != "shapes" or given or name == "world", name, "format shapes needs it, but it is None")
        within(self, 0, 2**32 - 1, "seed")
        at_least(self, 1, "batch_size", "rows_per_pack", "max_sample_tokens", "threads")
