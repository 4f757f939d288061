"""The config of ``irg_jax.curate``: which steps, which teachers, what they cost, what a good answer is."""

import dataclasses
import json
import re
from typing import Any, Literal

from ml_collections import ConfigDict

from irg_jax.core.config.ranges import at_least
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import check

Step = Literal["thinking1", "image1", "image2", "thinking2"]
STEPS: tuple[Step, ...] = ("thinking1", "image1", "image2", "thinking2")
# An environment variable as people name them. A key that was written here by mistake has other characters.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,39}|")
# One answer to one request, whose length is in ``max_tokens``.
_OWN_FIELDS = {"model", "messages", "prompt", "image", "n", "stream", "max_tokens", "max_completion_tokens"}


@dataclasses.dataclass(frozen=True)
class PriceConfig:
    """What the endpoint charges, in the currency of ``budget``; 0 for what costs nothing, None for what is not said.

    Attributes:
      input_tokens: a million tokens that it reads.
      output_tokens: a million tokens that it writes.
      picture: one picture that it makes.
    """

    input_tokens: float | None
    output_tokens: float | None
    picture: float | None

    def __post_init__(self) -> None:
        given = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None]
        at_least(self, 0.0, *given)


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
    """An OpenAI-compatible endpoint and a model on it.

    Attributes:
      base_url: up to and with ``/v1``.
      model: its name there.
      key_env: the environment variable that holds the key; empty for an endpoint without one.
      concurrency: requests at a time.
      price: for the estimate, the running cost and the budget.
      max_tokens: of an answer. For pictures it is not sent: it is the tokens that one picture is billed as at most, 0
        where pictures have a price each.
      token_limit: the field of the request that carries ``max_tokens``; newer hosted models want the longer name.
      image_tokens: that the endpoint counts for one picture that it is shown, at most; for estimate and budget.
      options: more fields of the request, as a JSON object, such as ``{"temperature": 0.7}``.
    """

    base_url: str
    model: str
    key_env: str
    concurrency: int
    price: PriceConfig
    max_tokens: int
    token_limit: Literal["max_tokens", "max_completion_tokens"]
    image_tokens: int
    options: str

    def __post_init__(self) -> None:
        url = re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", self.base_url)
        check(url, "base_url", "must be http(s)://HOST/v1, without user, password or query; keys go into key_env")
        check(self.model, "model", "is empty; give the name of a model that the endpoint serves")
        # The value is not shown: it may be a key.
        named = _VARIABLE.fullmatch(self.key_env)
        check(named, "key_env", "is not the NAME of an environment variable in capitals; keys stay out of configs")
        at_least(self, 1, "concurrency")
        at_least(self, 0, "max_tokens", "image_tokens")
        self.extra_fields()

    def extra_fields(self) -> dict[str, Any]:
        """The fields of ``options``. Raises ConfigError where they are not a JSON object."""
        try:
            fields = json.loads(self.options)
        except ValueError:
            fields = None
        check(isinstance(fields, dict), "options", f"{self.options!r:.80} is not a JSON object; write {{}} for none")
        for name in _OWN_FIELDS & fields.keys():
            check(False, "options", f"{name} is set by the command; leave it out")
        return dict(fields)


@dataclasses.dataclass(frozen=True)
class PictureTeacherConfig(TeacherConfig):
    """A teacher that makes pictures.

    Attributes:
      method: ``generate`` from the prompt and thinking 1 (images.generate), or ``edit`` of image 1 (images.edit).
    """

    method: Literal["generate", "edit"]


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
class RequestsConfig:
    """Patience with endpoints, in seconds.

    Attributes:
      timeout_s: without a byte from the endpoint, after which a request is sent again.
      give_up_after_s: of failures of one request, after which the command ends with status 75.
    """

    timeout_s: float
    give_up_after_s: float

    def __post_init__(self) -> None:
        at_least(self, 0.01, "timeout_s")
        at_least(self, 0.0, "give_up_after_s")


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
    thinking1: TeacherConfig
    image1: WeakImageConfig
    image2: PictureTeacherConfig
    thinking2: TeacherConfig
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
            for name, price in dataclasses.asdict(teacher.price).items():
                message = "is not given; write what the endpoint charges, 0 for nothing"
                check(price is not None, f"{step}.price.{name}", message)

    def teachers(self) -> dict[str, TeacherConfig]:
        """The teachers of the steps, by step."""
        return {step: getattr(self, step) for step in STEPS if step in self.steps and step != "image1"}


def parse_config(config: ConfigDict) -> CurateConfig:
    """The typed config. Raises ConfigError for a key or value that cannot be."""
    return dataclass_from_mapping(CurateConfig, config)
