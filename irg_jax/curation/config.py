"""The config of ``irg_jax.curate``: which steps, which teachers, what they cost, what a good answer is."""

import dataclasses
from typing import Literal

from ml_collections import ConfigDict

from irg_jax.core.config.ranges import at_least
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import check
from irg_jax.endpoints.config import EndpointConfig, PictureEndpointConfig, RequestsConfig

Step = Literal["thinking1", "image1", "image2", "thinking2"]
STEPS: tuple[Step, ...] = ("thinking1", "image1", "image2", "thinking2")


@dataclasses.dataclass(frozen=True)
class WeakImageConfig:
    """How the model that is to learn samples image 1.

    Attributes:
      checkpoint: the folder of a run, of one of its checkpoints, or of irg_jax.convert; empty if image 1 is no step.
      step: of the checkpoint; the latest if None.
      task: ``turn1``, after thinking 1, or ``text_to_image``, from the prompt alone.
      preset: published timesteps and guidance by name; empty for the run's own.
      sampling: texts KEY=VALUE that change the run's section sampling, such as ``time_points=20``.
      seed: of the samples, with the content of the record.
      batch_size: prompts sampled together, over all devices.
    """

    checkpoint: str
    step: int | None
    task: Literal["turn1", "text_to_image"]
    preset: str
    sampling: tuple[str, ...]
    seed: int
    batch_size: int

    def __post_init__(self) -> None:
        at_least(self, 1, "batch_size")
        check(0 <= self.seed < 2**32, "seed", f"{self.seed} must be from 0 to 2**32 - 1")


@dataclasses.dataclass(frozen=True)
class LengthConfig:
    """Bounds of a text in characters."""

    min_chars: int
    max_chars: int

    def __post_init__(self) -> None:
        at_least(self, 1, "min_chars")
        at_least(self, self.min_chars, "max_chars")


@dataclasses.dataclass(frozen=True)
class ChecksConfig:
    """What a text or a picture has to be, whether it was given or made.

    Attributes:
      thinking1: its length.
      thinking2: its length.
      script: of both texts: ``prompt``, that of the prompt; ``latin``; or ``any``.
      min_side: of a picture, in pixels.
    """

    thinking1: LengthConfig
    thinking2: LengthConfig
    script: Literal["prompt", "latin", "any"]
    min_side: int

    def __post_init__(self) -> None:
        at_least(self, 1, "min_side")


@dataclasses.dataclass(frozen=True)
class CurateConfig:
    """All of it. ``configs/curate.py`` has every key, with its meaning.

    Attributes:
      steps: that are made where the input does not give them, in any order.
      thinking1: the teacher that plans.
      image1: the model whose weak images are reflected on.
      image2: the teacher that makes good images.
      thinking2: the teacher that compares both images.
      budget: in the currency of the prices; nothing is sent that could exceed it.
      attempts: how often a teacher is asked for one answer before the record is rejected.
      checks: of texts and pictures.
      requests: time-outs.
      page_samples: records on the page.
    """

    steps: tuple[Step, ...]
    thinking1: EndpointConfig
    image1: WeakImageConfig
    image2: PictureEndpointConfig
    thinking2: EndpointConfig
    budget: float
    attempts: int
    checks: ChecksConfig
    requests: RequestsConfig
    page_samples: int

    def __post_init__(self) -> None:
        check(self.steps, "steps", f"is empty; give some of {', '.join(STEPS)}")
        check(len(set(self.steps)) == len(self.steps), "steps", f"{self.steps} names a step twice")
        has_checkpoint = "image1" not in self.steps or self.image1.checkpoint
        check(has_checkpoint, "image1.checkpoint", "is empty; give a run, or leave image1 out of config.steps")
        for name in ("thinking1", "thinking2"):
            limit = getattr(self, name).max_tokens
            check(limit >= 1, f"{name}.max_tokens", f"{limit} must be at least 1")
        at_least(self, 0.0, "budget")
        at_least(self, 1, "attempts")
        at_least(self, 0, "page_samples")

    def check_prices(self) -> None:
        """Raises ConfigError where a price of a teacher is not given: without it no budget would hold."""
        for step, teacher in self.teachers().items():
            teacher.check_prices(step)

    def teachers(self) -> dict[str, EndpointConfig]:
        """The teachers of the steps, by step."""
        return {step: getattr(self, step) for step in STEPS if step in self.steps and step != "image1"}


def parse_config(config: ConfigDict) -> CurateConfig:
    """The typed config. Raises ConfigError for a key or value that cannot be."""
    return dataclass_from_mapping(CurateConfig, config)
