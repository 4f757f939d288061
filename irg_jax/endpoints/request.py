"""What an endpoint is asked, and the key under which its answer is found again."""

import dataclasses
import hashlib
import json

from irg_jax.endpoints.pictures import Picture

Part = str | Picture


@dataclasses.dataclass(frozen=True)
class Message:
    """One message of a chat.

    Attributes:
      role: ``system``, ``user`` or ``assistant``.
      parts: texts and pictures in order.
    """

    role: str
    parts: tuple[Part, ...]


@dataclasses.dataclass(frozen=True)
class Request:
    """A request to an endpoint.

    Attributes:
      step: that it is for.
      model: that is asked.
      template: the digest of its template.
      options: further fields of the request, as JSON text.
      max_tokens: of the answer; what a picture is billed as at most.
      messages: of the chat; for a picture one, with its text and the picture that is edited.
      attempt: 1 for the first time that this step of a record is asked.
    """

    step: str
    model: str
    template: str
    options: str
    max_tokens: int
    messages: tuple[Message, ...]
    attempt: int

    @property
    def key(self) -> str:
        """SHA-256 of everything that decides the answer, pictures by their content; the same on another server."""
        messages = [(message.role, [_named(part) for part in message.parts]) for message in self.messages]
        values = [self.step, self.model, self.template, self.options, messages, self.attempt]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures that are shown."""
        return tuple(part for message in self.messages for part in message.parts if isinstance(part, Picture))

    @property
    def text(self) -> str:
        """All texts in order."""
        return "\n".join(part for message in self.messages for part in message.parts if isinstance(part, str))


def _named(part: Part) -> tuple[str, str]:
    return ("text", part) if isinstance(part, str) else ("picture", part.digest)
