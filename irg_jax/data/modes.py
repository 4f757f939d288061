"""The six learning modes of IRG: each turns a trajectory into a conversation (arXiv 2509.06945, section 3.2).

| mode                                      | sees (no loss)                                   | learns             |
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

from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.trajectory import Trajectory
from irg_jax.errors import UserError

INITIAL_QUESTION = "How is this picture planned?"
IMPROVING_QUESTION = "What makes the second picture better than the first?"

INITIAL_TARGETS: dict[str, Callable[[Trajectory], bytes]] = {
    "good": lambda t: t.image2,  # as published: a strong teacher paints what the first turn learns
    "draft": lambda t: t.image1,  # draft, then refine
}


def initial_thinking_understanding_learning(t: Trajectory) -> Conversation:
    """Thinking 1 from the prompt and the picture that it plans."""
    question = Text(f"{INITIAL_QUESTION}\n{t.prompt}")
    return Conversation(t.key, (question, Image(t.image2, need_vit=True), Text(t.thinking1, need_loss=True)))


def initial_thinking_generation_learning(t: Trajectory) -> Conversation:
    """Thinking 1 from the prompt alone."""
    return Conversation(t.key, (Text(t.prompt), Text(t.thinking1, need_loss=True)))


def initial_full_learning(
    t: Trajectory, target: Callable[[Trajectory], bytes] = INITIAL_TARGETS["good"]
) -> Conversation:
    """Thinking 1 and the first picture; ``target`` says which picture of the trajectory that is."""
    return Conversation(t.key, (Text(t.prompt), Text(t.thinking1, need_loss=True), Image(target(t), need_loss=True)))


def improving_thinking_understanding_learning(t: Trajectory) -> Conversation:
    """Thinking 2 from both pictures, without thinking 1."""
    question = Text(f"{IMPROVING_QUESTION}\n{t.prompt}")
    pictures = (Image(t.image1, need_vit=True), Image(t.image2, need_vit=True))
    return Conversation(t.key, (question, *pictures, Text(t.thinking2, need_loss=True)))


def improving_thinking_generation_learning(t: Trajectory) -> Conversation:
    """Thinking 2 from the first turn."""
    return Conversation(t.key, (*_first_turn(t), Text(t.thinking2, need_loss=True)))


def improving_full_learning(t: Trajectory) -> Conversation:
    """Thinking 2 and the improved picture from the first turn."""
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
    # A thought that says nothing: what planning is measured against.
    "none": lambda t: dataclasses.replace(t, thinking1="<think> </think>"),
}


def check(name: str) -> None:
    """Raises UserError where ``name`` is none of ``MODES``; the message lists them."""
    if name not in MODES:
        raise UserError(f"data.mixture: unknown learning mode {name!r}; known modes are {', '.join(MODES)}")


def learning_mode(name: str, initial_target: str) -> Callable[[Trajectory], Conversation]:
    """The function of a mode by its name.

    Args:
      name: one of ``MODES``.
      initial_target: which picture ``initial_full_learning`` paints, one of ``INITIAL_TARGETS``.

    Raises:
      UserError: an unknown mode or target; the message lists the known ones.
    """
    check(name)
    if initial_target not in INITIAL_TARGETS:
        raise UserError(f"data.initial_target: {initial_target!r} is none of {', '.join(INITIAL_TARGETS)}")
    if name == "initial_full_learning":
        return functools.partial(initial_full_learning, target=INITIAL_TARGETS[initial_target])
    return MODES[name]
