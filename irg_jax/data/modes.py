"""The six learning modes of IRG: each turns a trajectory into a conversation (arXiv 2509.06945, section 3.2).

| mode                                      | condition (no loss)                              | target (loss)      |
|-------------------------------------------|--------------------------------------------------|--------------------|
| initial_thinking_understanding_learning   | question + prompt, target image (ViT)            | thinking 1         |
| initial_thinking_generation_learning      | prompt                                           | thinking 1         |
| initial_full_learning                     | prompt                                           | thinking 1, image  |
| improving_thinking_understanding_learning | question + prompt, image 1 and image 2 (ViT)     | thinking 2         |
| improving_thinking_generation_learning    | prompt, thinking 1, image 1 (VAE + ViT)          | thinking 2         |
| improving_full_learning                   | prompt, thinking 1, image 1 (VAE + ViT)          | thinking 2, image 2|

A mode is a table: which fields of a trajectory become which parts. What it costs in tokens can so be told from the
lengths of the fields, without reading them (``index.trajectories``).
"""

from collections.abc import Mapping
from typing import NamedTuple

from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import ConfigError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.trajectory import IMAGES, Trajectory

INITIAL_QUESTION = "How is this picture planned?"
IMPROVING_QUESTION = "What makes the second picture better than the first?"
EMPTY_THINKING = "<think> </think>"  # the baseline without a plan

# What can stand in a conversation beside the fields of a trajectory.
QUESTIONS = {"initial_question": INITIAL_QUESTION, "improving_question": IMPROVING_QUESTION}
CONSTANTS = {"empty_thinking": EMPTY_THINKING}


class ModePart(NamedTuple):
    """A part of a mode's conversation.

    Attributes:
      field: of the trajectory; or a name in ``QUESTIONS`` (that question, then the prompt) or ``CONSTANTS``.
      need_loss: as in ``Text`` and ``Image``; likewise the others, for images only.
    """

    field: str
    need_loss: bool = False
    need_vae: bool = False
    need_vit: bool = False


Mode = tuple[ModePart, ...]

_FIRST_TURN = (ModePart("prompt"), ModePart("thinking1"), ModePart("image1", need_vae=True, need_vit=True))

# With image 2 as the first target, as published: the first turn learns to generate the teacher's good image.
MODES: dict[str, Mode] = {
    "initial_thinking_understanding_learning": (
        ModePart("initial_question"),
        ModePart("image2", need_vit=True),
        ModePart("thinking1", need_loss=True),
    ),
    "initial_thinking_generation_learning": (ModePart("prompt"), ModePart("thinking1", need_loss=True)),
    "initial_full_learning": (
        ModePart("prompt"),
        ModePart("thinking1", need_loss=True),
        ModePart("image2", need_loss=True),
    ),
    "improving_thinking_understanding_learning": (
        ModePart("improving_question"),
        ModePart("image1", need_vit=True),
        ModePart("image2", need_vit=True),
        ModePart("thinking2", need_loss=True),
    ),
    "improving_thinking_generation_learning": (*_FIRST_TURN, ModePart("thinking2", need_loss=True)),
    "improving_full_learning": (
        *_FIRST_TURN,
        ModePart("thinking2", need_loss=True),
        ModePart("image2", need_loss=True),
    ),
}

# The image that initial_full_learning generates, and what stands for thinking 1: field by name of the variant.
INITIAL_TARGETS = {"good": "image2", "draft": "image1"}
THINKING1 = {"plan": "thinking1", "none": "empty_thinking"}


def learning_mode(name: str, initial_target: str = "good", thinking1: str = "plan") -> Mode:
    """The mode with this name.

    Args:
      name: one of ``MODES``.
      initial_target: which image ``initial_full_learning`` learns to generate, one of ``INITIAL_TARGETS``.
      thinking1: one of ``THINKING1``.

    Raises:
      ConfigError: an unknown mode; the message lists the known ones.
    """
    check_mode(name)
    fields = {"thinking1": THINKING1[thinking1]}
    if name == "initial_full_learning":
        fields["image2"] = INITIAL_TARGETS[initial_target]
    return tuple(part._replace(field=fields.get(part.field, part.field)) for part in MODES[name])


def check_mode(name: str) -> None:
    """Raises ConfigError if ``name`` is not one of ``MODES``; the message lists them."""
    if name not in MODES:
        raise ConfigError(
            "mixture", f"unknown learning mode {name!r}{did_you_mean(name, MODES)}; known modes are {', '.join(MODES)}"
        )


def required_fields(mode: Mode) -> frozenset[str]:
    """The fields of a trajectory that a record must have to be in this mode."""
    fields = {"prompt" if part.field in QUESTIONS else part.field for part in mode}
    return frozenset(fields - set(CONSTANTS))


def texts(trajectory: Trajectory) -> Mapping[str, str]:
    """Every text that a mode can ask for, by field."""
    return {
        "prompt": trajectory.prompt,
        "thinking1": trajectory.thinking1,
        "thinking2": trajectory.thinking2,
        **{name: f"{question}\n{trajectory.prompt}" for name, question in QUESTIONS.items()},
        **CONSTANTS,
    }


def conversation(trajectory: Trajectory, mode: Mode) -> Conversation:
    """The conversation of a trajectory that has the mode's ``required_fields``."""
    known = texts(trajectory)
    parts: list[Text | Image] = []
    for part in mode:
        if part.field in IMAGES:
            content = getattr(trajectory, part.field)
            parts.append(Image(content, part.need_loss, part.need_vae, part.need_vit))
        else:
            parts.append(Text(known[part.field], part.need_loss))
    return Conversation(trajectory.key, tuple(parts))
