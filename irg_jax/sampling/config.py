"""The ``sampling`` section of a config, and its published presets."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from irg_jax.core.config.ranges import above, at_least
from irg_jax.core.config.schema import is_section
from irg_jax.core.errors import UserError, check
from irg_jax.core.text import check_text
from irg_jax.sampling.guidance import Guidance

_TURN1 = dict(text_scale=4.0, image_scale=1.0, interval=(0.4, 1.0), renorm="global", renorm_min=0.0)
_TURN2 = dict(text_scale=2.0, image_scale=2.0, interval=(0.0, 1.0), renorm="text_channel", renorm_min=0.0)
_PAPER = dict(temperature=0.3, time_points=50, timestep_shift=3.0, turn1=_TURN1, turn2=_TURN2)

# The published values (IRG, arXiv 2509.06945, section 3.3): the paper's, and those of the released script, which differ
# in turn 2.
PRESETS: dict[str, dict[str, Any]] = {"paper": _PAPER, "released": _PAPER | {"turn2": _TURN2 | {"text_scale": 4.0}}}


def preset_values(name: str) -> dict[str, Any]:
    """The values of a preset; empty where ``name`` is empty.

    Raises:
      UserError: ``name`` is not a preset.
    """
    if name and name not in PRESETS:
        raise UserError(f"preset: {name!r} is not one of {', '.join(PRESETS)}")
    return dict(PRESETS.get(name, {}))


def merge_nested(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` updated by ``changes``, section by section: turn1={"text_scale": 2.0} keeps the rest of turn 1."""

    def merged(key: str, change: Any) -> Any:
        both = is_section(change) and key in values and is_section(values[key])
        return merge_nested(values[key], change) if both else change

    return {**values, **{key: merged(key, change) for key, change in changes.items()}}


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """Lengths, timesteps and guidance of sampling (IRG, arXiv 2509.06945, section 3.3).

    Attributes:
      system_prompt: text before the prompt; empty for none.
      image_size: (height, width) in pixels.
      prompt_bucket: prompts are padded to a multiple of this many tokens, so that few lengths are compiled.
      max_prompt: maximum tokens of a prompt, including bos and eos.
      max_thinking: maximum tokens of the thinking of each turn, including bos and eos.
      temperature: of decoded text; 0 is greedy decoding.
      time_points: of the flow, from noise to image; one more than Euler steps.
      timestep_shift: moves the time points towards noise, see ``flow.shift_time``.
      turn1: guidance of the first image; ``text_scale`` away from the system prompt alone.
      turn2: guidance of the second; ``text_scale`` away from no second thinking, ``image_scale`` away from no image.
    """

    system_prompt: str
    image_size: tuple[int, int]
    prompt_bucket: int
    max_prompt: int
    max_thinking: tuple[int, int]
    temperature: float
    time_points: int
    timestep_shift: float
    turn1: Guidance
    turn2: Guidance

    def __post_init__(self) -> None:
        check_text(self.system_prompt, "config.sampling.system_prompt")
        at_least(self, 1, "prompt_bucket")
        at_least(self, 2, "max_prompt")
        check(min(self.max_thinking) >= 2, "max_thinking", f"{self.max_thinking} must have room for bos and eos each")
        at_least(self, 0, "temperature")
        check(self.time_points >= 2, "time_points", f"{self.time_points} must be at least 2, for one Euler step")
        above(self, 0, "timestep_shift")
