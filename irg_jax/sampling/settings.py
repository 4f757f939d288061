"""How a trajectory is sampled: the ``sampling`` section of a config."""

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from irg_jax.errors import UserError
from irg_jax.sampling.guidance import Guidance
from irg_jax.sections import build

_TURN1 = dict(text_scale=4.0, image_scale=1.0, interval=(0.4, 1.0), renorm="global", renorm_min=0.0)
_TURN2 = dict(text_scale=2.0, image_scale=2.0, interval=(0.0, 1.0), renorm="text_channel", renorm_min=0.0)
_PAPER = dict(temperature=0.3, time_points=50, timestep_shift=3.0, turn1=_TURN1, turn2=_TURN2)

# The published settings: the paper's, and those of the released script, which differ in turn 2 (irg.md §6).
PRESETS: dict[str, dict[str, Any]] = {"paper": _PAPER, "released": _PAPER | {"turn2": _TURN2 | {"text_scale": 4.0}}}


def preset(name: str) -> dict[str, Any]:
    """The values of a preset; none where ``name`` is empty.

    Raises:
      UserError: there is no such preset.
    """
    if name and name not in PRESETS:
        raise UserError(f"preset: {name!r} is none of {', '.join(PRESETS)}")
    return dict(PRESETS.get(name, {}))


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with ``changes`` on top, section by section: turn1={"text_scale": 2.0} leaves the rest of turn 1."""
    inner = {k: merged(values[k], v) if isinstance(v, Mapping) and k in values else v for k, v in changes.items()}
    return {**values, **inner}


def parse(assignments: Sequence[str]) -> dict[str, Any]:
    """Changes from text, such as ``temperature=0.0`` or ``turn1.text_scale=2.0``.

    Raises:
      UserError: no assignment, or no Python value behind it.
    """
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text  # a word, such as global
        if not (key and equals):
            raise UserError(f"sampling: {assignment!r} is not KEY=VALUE, such as temperature=0.0")
        for name in reversed(key.split(".")):
            value = {name: value}
        changes = merged(changes, value)
    return changes


@dataclasses.dataclass(frozen=True)
class Sampling:
    """Lengths, times and guidance of two-turn sampling (irg.md §6).

    Attributes:
      system_prompt: a text before the prompt; empty for none.
      image_size: (height, width) in pixels.
      prompt_bucket: prompts are padded to a multiple of so many tokens, so that few lengths are compiled.
      max_prompt: most tokens in a prompt.
      max_thinking: most tokens in a thought, one number a turn.
      temperature: of the thoughts; 0 takes the likeliest token.
      time_points: of the flow, one more than Euler steps.
      timestep_shift: of the time points.
      turn1: guidance of the first picture; ``text_scale`` away from the system prompt alone.
      turn2: guidance of the second; ``text_scale`` away from no reflection, ``image_scale`` away from no picture.
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
        if self.time_points < 2:
            raise UserError(f"sampling.time_points: {self.time_points} must be at least 2, for one Euler step")
        if self.temperature < 0:
            raise UserError(f"sampling.temperature: {self.temperature} must not be negative")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Sampling":
        """From the ``sampling`` section of a config."""
        parts = {k: build(Guidance, v, f"sampling.{k}") if k in ("turn1", "turn2") else v for k, v in values.items()}
        return build(cls, parts, "sampling")
