"""The config of one training stage: every section, built and checked once at the start."""

import dataclasses
import math
import re
from typing import Literal, NamedTuple

from ml_collections import ConfigDict

from irg_jax.core.config.ranges import above, at_least, within
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError, check
from irg_jax.core.text import check_text
from irg_jax.data.config import DataConfig, SourceConfig
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.lora import LoRAConfig
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sharding.mesh import MeshConfig


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Weights of the two losses and the shift of the training timesteps.

    Attributes:
      ce_weight: of the cross entropy of text.
      mse_weight: of the flow matching error of images.
      timestep_shift: of the training timesteps, see ``flow.shift_time``.
    """

    ce_weight: float
    mse_weight: float
    timestep_shift: float

    def __post_init__(self) -> None:
        at_least(self, 0, "ce_weight", "mse_weight")
        above(self, 0, "timestep_shift")


class FreezeEntry(NamedTuple):
    """Weights whose name matches ``regex`` anywhere are frozen from step ``step`` on; 0 means always."""

    regex: str
    step: int


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW, its schedule, the EMA and what is frozen.

    Attributes:
      lr: peak learning rate.
      schedule: after the warm-up: constant, or a cosine down to ``final_lr`` at the last step.
      final_lr: see ``schedule``.
      warmup_steps: of linear warm-up.
      b1: decay of the first moment.
      b2: decay of the second moment.
      eps: of Adam.
      weight_decay: decoupled.
      moments_dtype: in which both moments are stored between steps; bfloat16 with stochastic rounding.
      ema_dtype: likewise, of the EMA.
      clip_norm: of the global gradient norm.
      ema_decay: of the moving average of the weights.
      accumulate: microbatches per step.
      freeze: the first match wins; a weight without a match is never frozen.
      skip_nonfinite: how many steps with a loss or gradient that is not finite may be left out before the run stops.
    """

    lr: float
    schedule: Literal["constant", "cosine"]
    final_lr: float
    warmup_steps: int
    b1: float
    b2: float
    eps: float
    weight_decay: float
    moments_dtype: Literal["float32", "bfloat16"]
    ema_dtype: Literal["float32", "bfloat16"]
    clip_norm: float
    ema_decay: float
    accumulate: int
    freeze: tuple[FreezeEntry, ...]
    skip_nonfinite: int

    def __post_init__(self) -> None:
        check(0 < self.lr < math.inf, "lr", f"{self.lr} must be > 0; to train nothing, freeze")
        at_least(self, 0, "final_lr", "weight_decay", "skip_nonfinite")
        at_least(self, 1, "accumulate")
        above(self, 0, "eps", "clip_norm")
        for name in ("b1", "b2", "ema_decay"):
            check(0 <= getattr(self, name) < 1, name, f"{getattr(self, name)} must be at least 0 and below 1")
        for regex, step in self.freeze:
            check(step >= 0, "freeze", f"({regex!r}, {step}) must be (regex, step) with a step of at least 0")
            try:
                re.compile(regex)
            except re.error as error:
                raise ConfigError("freeze", f"{regex!r} is not a regular expression ({error})") from error


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """When a checkpoint is saved, and which are kept.

    Attributes:
      every: steps between checkpoints.
      minutes: minutes after which one is saved too, whatever the step; 0 for never.
      keep: how many of the latest are kept.
      keep_every: those of steps that are multiples of this are kept too; 0 for none.
      best: the one with the lowest value of this validation metric, such as ``validation/loss``, is kept too; empty for
        none.
    """

    every: int
    minutes: float
    keep: int
    keep_every: int
    best: str

    def __post_init__(self) -> None:
        at_least(self, 1, "every", "keep")
        at_least(self, 0, "minutes", "keep_every")


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """When metrics are written, and where besides metrics.csv and TensorBoard.

    Attributes:
      every: steps between two rows of metrics, which are means over these steps.
      stall_factor: a step that takes this many times the median is reported with the process that stands still.
      wandb: project on Weights & Biases; empty for none.
    """

    every: int
    stall_factor: float
    wandb: str

    def __post_init__(self) -> None:
        at_least(self, 1, "every")
        above(self, 1, "stall_factor")


@dataclasses.dataclass(frozen=True)
class ValidationConfig:
    """What is measured on held-out data while training, with the EMA weights.

    Attributes:
      every: steps between two validations; the last step has one too. 0 for none at all.
      batches: of packed rows, always the same, with the same timesteps and noise.
      sources: held-out data sets by their name in ``data.sources``; empty for the split ``held_out`` of these.
      prompts: an image is sampled for each of them.
    """

    every: int
    batches: int
    sources: dict[str, SourceConfig]
    prompts: tuple[str, ...]

    def __post_init__(self) -> None:
        at_least(self, 0, "every")
        at_least(self, 1, "batches")
        for i, prompt in enumerate(self.prompts):
            check_text(prompt, f"validation.prompts[{i}]")


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One training stage.

    Attributes:
      seed: of weights, timesteps and noise.
      steps: optimizer steps.
      data: data set, mixture, packing.
      model: the architecture.
      execution: how it is executed.
      lora: trains low-rank updates over the weights of ``init_from``; None trains the whole model.
      loss: weights of the losses.
      optim: the optimizer.
      init_from: a run, or a folder of ``irg_jax.convert``, whose EMA weights this stage starts from; empty for none.
      mesh: devices along each axis.
      checkpoint: when to save.
      log: when to log.
      validation: what to measure on held-out data.
      sampling: how the trained model samples.
    """

    seed: int
    steps: int
    data: DataConfig
    model: ModelConfig
    execution: ExecutionConfig
    lora: LoRAConfig | None
    loss: LossConfig
    optim: OptimConfig
    init_from: str
    mesh: MeshConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    validation: ValidationConfig
    sampling: SamplingConfig

    def __post_init__(self) -> None:
        within(self, 0, 2**32 - 1, "seed")
        at_least(self, 1, "steps")
        warmup = self.optim.warmup_steps
        check(
            0 <= warmup < self.steps,
            "optim.warmup_steps",
            f"{warmup} must be at least 0 and less than the {self.steps} steps",
        )
        missing = "lora trains beside given weights; name the run or converted folder that holds them"
        check(self.lora is None or self.init_from, "init_from", missing)
        if self.validation.every:
            self._check_held_out()
        best = self.checkpoint.best
        check(
            not best or self.validation.every, "checkpoint.best", f"{best!r} is never measured: validation.every is 0"
        )

    @property
    def needs_vae(self) -> bool:
        """Whether training encodes or decodes images: not where all of them come as latents."""
        validation, data = self.validation, self.data
        used = validation.sources or data.sources
        encoded = data.latents and all(used[entry.source].latents for entry in data.mixture if entry.source in used)
        return not (encoded if validation.every else data.latents) or bool(validation.every and validation.prompts)

    def _check_held_out(self) -> None:
        given = self.validation.sources
        for name in given:
            check(name in self.data.sources, f"validation.sources.{name}", "is no data set of data.sources")
        used = {entry.source for entry in self.data.mixture}
        check(not given or used & set(given), "validation.sources", "no mode of data.mixture is of these data sets")
        for name in () if given else sorted(used):
            form = self.data.sources[name].format
            check(
                form == "irgl",
                "validation.sources",
                f"a data set of format {form!r} ({name}) has no held-out split; give folders of held-out data",
            )


def parse_stage(config: ConfigDict) -> StageConfig:
    """The typed config of a single stage.

    Raises:
      ConfigError: an unknown or missing key or a wrong value, by its full key; or a config of several stages.
    """
    if "stages" in config:
        raise ConfigError("stages", f"this command takes one stage; give the config of {' or '.join(config.stages)}")
    return dataclass_from_mapping(StageConfig, config)
