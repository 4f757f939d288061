"""OpenAI's protocol, as far as the oracle speaks it: what a request asks, and the body of an answer."""

import base64
import binascii
import dataclasses
import email
import email.policy
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from irg_jax.core.errors import UserError

PATHS = {"/v1/chat/completions": "chat", "/v1/images/generations": "generate", "/v1/images/edits": "edit"}
PICTURE_TOKENS = 85  # that a picture counts for, as a small one does at OpenAI
_DATA_URI = re.compile(r"data:[^;,]*;base64,(.*)", re.DOTALL)
_TOKEN = re.compile(
    r"\s*\S+|\s+$"
)  # words with the space before them; tokens for counting, limits and log-probabilities
_NEVER = -9999.0  # log-probability of what cannot be, as OpenAI writes it


class Question(NamedTuple):
    """A request.

    Attributes:
      kind: ``chat``, ``generate`` or ``edit``.
      text: the texts of all messages, one below the other; or the prompt of a picture.
      pictures: the encoded pictures, in order.
      body: all of its fields.
    """

    kind: str
    text: str
    pictures: tuple[bytes, ...]
    body: Mapping[str, Any]

    @property
    def content(self) -> str:
        """A digest of kind, text and pictures: the same for the same question, whoever asks it and how."""
        shown = [hashlib.sha256(picture).hexdigest() for picture in self.pictures]
        return hashlib.sha256(json.dumps([self.kind, self.text, shown]).encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Text:
    """The answer of a chat.

    Attributes:
      text: what is said.
      first: probabilities of the first token's alternatives, such as ``{"Yes": 0.95, "No": 0.05}``; empty if sure.
    """

    text: str
    first: Mapping[str, float] = dataclasses.field(default_factory=dict)


def read_question(path: str, content_type: str, content: bytes) -> Question:
    """The question of a POST to one of ``PATHS``. Raises UserError where the body is not of the protocol."""
    kind = PATHS[path]
    try:
        if kind == "edit":
            return _read_form(content_type, content)
        body = json.loads(content)
        if body.get("stream"):
            raise UserError("stream: the oracle answers in one piece; ask without it")
        if kind == "generate":
            return Question(kind, _text(body["prompt"]), (), body)
        return _read_messages(body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: the body is not of the protocol ({type(error).__name__}: {error})") from error


def _read_form(content_type: str, content: bytes) -> Question:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    texts: dict[str, str] = {}
    pictures: list[bytes] = []
    for part in email.message_from_bytes(head + content, policy=email.policy.HTTP).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        value: Any = part.get_payload(decode=True)
        if name in ("image", "image[]"):
            pictures.append(value)
        else:
            texts[name] = value.decode()
    return Question("edit", texts["prompt"], tuple(pictures), texts)


def _read_messages(body: dict[str, Any]) -> Question:
    texts, pictures = [], []
    for message in body["messages"]:
        content = message["content"]
        parts: list[Any] = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for part in parts:
            if part["type"] == "text":
                texts.append(_text(part["text"]))
            elif part["type"] == "image_url":
                pictures.append(_picture(part["image_url"]["url"]))
            else:
                raise ValueError(f"a part of type {part['type']!r}")
    return Question("chat", "\n".join(texts), tuple(pictures), body)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _picture(url: str) -> bytes:
    found = _DATA_URI.fullmatch(url)
    if not found:
        raise ValueError(f"a picture is given as a data URI in base64, not as {url[:40]!r}")
    try:
        return base64.b64decode(found[1], validate=True)
    except binascii.Error as error:
        raise ValueError(f"a picture's base64 cannot be decoded ({error})") from error


def tokens(text: str) -> list[str]:
    """The text in tokens, which are its words here; joined they are the text again."""
    return _TOKEN.findall(text)


def count_usage(question: Question, written: int) -> tuple[int, int] | None:
    """Tokens read and written, as the oracle counts them."""
    return len(tokens(question.text)) + PICTURE_TOKENS * len(question.pictures), written


def chat_body(question: Question, answer: Text, *, half: bool = False) -> tuple[dict[str, Any], int]:
    """The body of a chat's answer without ``usage``, and the number of tokens written.

    It is cut at the token limit of the request, or in the middle if ``half``; then its ``finish_reason`` is ``length``.
    """
    all_tokens = tokens(answer.text)
    limit = question.body.get("max_completion_tokens") or question.body.get("max_tokens") or len(all_tokens)
    kept = all_tokens[: len(all_tokens) // 2 if half else limit]
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(kept), "refusal": None},
        "finish_reason": "stop" if len(kept) == len(all_tokens) else "length",
        "logprobs": None,
    }
    if question.body.get("logprobs"):
        shown = question.body.get("top_logprobs") or 0
        content = [_log_probabilities(token, {} if i else answer.first, shown) for i, token in enumerate(kept)]
        choice["logprobs"] = {"content": content, "refusal": None}
    body = {
        "id": f"chatcmpl-{question.content[:16]}",
        "object": "chat.completion",
        "created": 0,
        "model": question.body.get("model"),
        "choices": [choice],
    }
    return body, len(kept)


def _log_probabilities(token: str, alternatives: Mapping[str, float], shown: int) -> dict[str, Any]:
    # The sampled token comes first where two are equally likely.
    likely = sorted({token: 1.0, **alternatives}.items(), key=lambda item: (-item[1], item[0] != token))
    listed = [
        {"token": name, "logprob": math.log(share) if share > 0 else _NEVER, "bytes": list(name.encode())}
        for name, share in likely
    ]
    own = next(entry for entry in listed if entry["token"] == token)
    return {**own, "top_logprobs": listed[:shown]}


def picture_body(content: bytes) -> tuple[dict[str, Any], int]:
    """The body of a picture's answer without ``usage``, and the number of tokens that it counts for."""
    return {"created": 0, "data": [{"b64_json": base64.b64encode(content).decode()}]}, PICTURE_TOKENS


def error_body(message: str, code: str | None = None) -> bytes:
    """The body of an HTTP error."""
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code}}).encode()
