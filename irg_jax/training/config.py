"""The config of one training stage: every section, built and checked once at the start."""

import dataclasses
import re
from typing import Literal, NamedTuple

from ml_collections import ConfigDict

from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError, check
from irg_jax.data.config import DataConfig
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

    def __post_init__(self) -> None:
        check(self.lr > 0, "lr", f"{self.lr} must be > 0; to train nothing, freeze")
        check(self.accumulate >= 1, "accumulate", f"{self.accumulate} must be at least 1")
        check(0 <= self.ema_decay < 1, "ema_decay", f"{self.ema_decay} must be at least 0 and below 1")
        for regex, step in self.freeze:
            check(step >= 0, "freeze", f"({regex!r}, {step}) must be (regex, step) with a step of at least 0")
            try:
                re.compile(regex)
            except re.error as error:
                raise ConfigError("freeze", f"{regex!r} is not a regular expression ({error})") from error


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Steps between checkpoints, and how many are kept."""

    every: int
    keep: int

    def __post_init__(self) -> None:
        check(self.every >= 1, "every", f"{self.every} must be at least 1")
        check(self.keep >= 1, "keep", f"{self.keep} must be at least 1")


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """Steps between two rows of metrics."""

    every: int

    def __post_init__(self) -> None:
        check(self.every >= 1, "every", f"{self.every} must be at least 1")


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
    sampling: SamplingConfig

    def __post_init__(self) -> None:
        warmup = self.optim.warmup_steps
        check(
            0 <= warmup < self.steps,
            "optim.warmup_steps",
            f"{warmup} must be at least 0 and less than the {self.steps} steps",
        )
        missing = "lora trains beside given weights; name the run or converted folder that holds them"
        check(self.lora is None or self.init_from, "init_from", missing)


def parse_stage(config: ConfigDict) -> StageConfig:
    """The typed config of a single stage.

    Raises:
      ConfigError: an unknown or missing key or a wrong value, by its full key; or a config of several stages.
    """
    if "stages" in config:
        raise ConfigError("stages", f"this command takes one stage; give the config of {' or '.join(config.stages)}")
    return dataclass_from_mapping(StageConfig, config)
