"""Text to image: an image with its captions, of which every visit draws one."""

from collections.abc import Sequence
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.sources.records import checked_text, shown


def named_captions(value: Any, where: str) -> list[str]:
    """The captions of an object from name to caption, in its order.

    Raises:
      UserError: not an object, no captions in it, or one that is not a text or is empty.
    """
    if not isinstance(value, dict):
        raise UserError(f'{where} is {shown(value)}; it must be an object such as {{"short": "a red bench"}}')
    if not value:
        raise UserError(f"{where} has no captions; write at least one or remove the record")
    return [checked_text(caption, f"{where}[{shown(name)}]") for name, caption in value.items()]


def conversations(key: str, captions: Sequence[str], image: bytes) -> tuple[Conversation, ...]:
    """One conversation for each caption, in order: the caption is the condition, the image is learned."""
    target = Image(image, need_loss=True)
    return tuple(Conversation(key, (Text(caption), target)) for caption in captions)
