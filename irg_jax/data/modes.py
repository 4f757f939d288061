"""The six learning modes of IRG: each turns a trajectory into a conversation (arXiv 2509.06945, section 3.2).

| mode                                      | condition (no loss)                              | target (loss)      |
|-------------------------------------------|--------------------------------------------------|--------------------|
| initial_thinking_understanding_learning   | question + prompt, target image (ViT)            | thinking 1         |
| initial_thinking_generation_learning      | prompt                                           | thinking 1         |
| initial_full_learning                     | prompt                                           | thinking 1, image  |
| improving_thinking_understanding_learning | question + prompt, image 1 and image 2 (ViT)     | thinking 2         |
| improving_thinking_generation_learning    | prompt, thinking 1, image 1 (VAE + ViT)          | thinking 2         |
| improving_full_learning                   | prompt, thinking 1, image 1 (VAE + ViT)          | thinking 2, image 2|
"""

import dataclasses
import functools
from collections.abc import Callable

from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import ConfigError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.trajectory import Trajectory

INITIAL_QUESTION = "How is this picture planned?"
IMPROVING_QUESTION = "What makes the second picture better than the first?"

INITIAL_TARGETS: dict[str, Callable[[Trajectory], bytes]] = {
    "good": lambda t: t.image2,  # as published: the first turn learns to generate the teacher's good image
    "draft": lambda t: t.image1,  # the first turn learns the weak image, which the second turn refines
}


def initial_thinking_understanding_learning(t: Trajectory) -> Conversation:
    """Thinking 1 from the prompt and the image that it plans."""
    question = Text(f"{INITIAL_QUESTION}\n{t.prompt}")
    return Conversation(t.key, (question, Image(t.image2, need_vit=True), Text(t.thinking1, need_loss=True)))


def initial_thinking_generation_learning(t: Trajectory) -> Conversation:
    """Thinking 1 from the prompt alone."""
    return Conversation(t.key, (Text(t.prompt), Text(t.thinking1, need_loss=True)))


def initial_full_learning(
    t: Trajectory, target: Callable[[Trajectory], bytes] = INITIAL_TARGETS["good"]
) -> Conversation:
    """Thinking 1 and the first image; ``target`` selects that image from the trajectory."""
    return Conversation(t.key, (Text(t.prompt), Text(t.thinking1, need_loss=True), Image(target(t), need_loss=True)))


def improving_thinking_understanding_learning(t: Trajectory) -> Conversation:
    """Thinking 2 from both images, without thinking 1."""
    question = Text(f"{IMPROVING_QUESTION}\n{t.prompt}")
    images = (Image(t.image1, need_vit=True), Image(t.image2, need_vit=True))
    return Conversation(t.key, (question, *images, Text(t.thinking2, need_loss=True)))


def improving_thinking_generation_learning(t: Trajectory) -> Conversation:
    """Thinking 2 from the first turn."""
    return Conversation(t.key, (*_first_turn(t), Text(t.thinking2, need_loss=True)))


def improving_full_learning(t: Trajectory) -> Conversation:
    """Thinking 2 and the improved image from the first turn."""
    learned = (Text(t.thinking2, need_loss=True), Image(t.image2, need_loss=True))
    return Conversation(t.key, (*_first_turn(t), *learned))


def _first_turn(t: Trajectory) -> tuple[Text | Image, ...]:
    return Text(t.prompt), Text(t.thinking1), Image(t.image1, need_vae=True, need_vit=True)


MODES: dict[str, Callable[[Trajectory], Conversation]] = {
    f.__name__: f
    for f in (
        initial_thinking_understanding_learning,
        initial_thinking_generation_learning,
        initial_full_learning,
        improving_thinking_understanding_learning,
        improving_thinking_generation_learning,
        improving_full_learning,
    )
}


THINKING1: dict[str, Callable[[Trajectory], Trajectory]] = {
    "plan": lambda t: t,
    # An empty first thinking: the baseline without a plan.
    "none": lambda t: dataclasses.replace(t, thinking1="<think> </think>"),
}


def check_mode(name: str) -> None:
    """Raises ConfigError if ``name`` is not one of ``MODES``; the message lists them."""
    if name not in MODES:
        raise ConfigError(
            "mixture", f"unknown learning mode {name!r}{did_you_mean(name, MODES)}; known modes are {', '.join(MODES)}"
        )


def learning_mode(name: str, initial_target: str) -> Callable[[Trajectory], Conversation]:
    """The function of the mode with this name.

    Args:
      name: one of ``MODES``.
      initial_target: which image ``initial_full_learning`` learns to generate, one of ``INITIAL_TARGETS``.

    Raises:
      ConfigError: an unknown mode; the message lists the known ones.
    """
    check_mode(name)
    if name == "initial_full_learning":
        return functools.partial(initial_full_learning, target=INITIAL_TARGETS[initial_target])
    return MODES[name]
