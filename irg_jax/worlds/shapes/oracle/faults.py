"""Faults that a server shows instead of its right answer, chosen for a request by its number alone."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.oracle.protocol import Question, Text, error_body

KINDS = {
    "429": "HTTP 429 with Retry-After and x-ratelimit headers",
    "500": "HTTP 500",
    "cut": "the connection ends in the middle of the answer",
    "half": "half of a text, with finish_reason length",
    "nonsense": "a text that has nothing to do with the question",
    "refusal": "a text that refuses; HTTP 400 with code moderation_blocked for a picture",
    "silence": "nothing comes for --silence_s seconds, then the right answer",
    "json": "HTTP 200 with half of a JSON object",
    "picture": "bytes that are no picture",
    "model": "the right text under another model's name",
}
NONSENSE = "Bananas ripen on Tuesdays; the harbour is closed and nobody counted the ladders."
REFUSAL = "I'm sorry, but I can't help with that."
NO_PICTURE = b"this is no picture"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to one request.

    ``half``, ``nonsense`` and ``model`` leave requests for pictures as they are, ``picture`` those for texts.

    Attributes:
      kind: a key of ``KINDS``, or ``response`` for what ``respond`` and ``error`` make.
      status: of the response that is sent instead of an answer; 0 for the other kinds.
      headers: of that response.
      body: of that response.
      seconds: of silence.
    """

    kind: str
    status: int = 0
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0


def respond(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Fault:
    """A response as given."""
    return Fault("response", status, headers or {}, body)


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> Fault:
    """An HTTP error in the protocol's form; underscores in the names of headers are hyphens."""
    return respond(status, error_body(message, code), {name.replace("_", "-"): text for name, text in headers.items()})


def silence(seconds: float) -> Fault:
    """The right answer, late."""
    return Fault("silence", seconds=seconds)


@dataclasses.dataclass(frozen=True)
class PlannedFaults:
    """Which requests get which fault: a function of the seed and the request's number, and of nothing else.

    Attributes:
      seed: of the choice.
      shares: of all requests, by kind; together at most 1.
      numbers: of requests, from 0, by kind; they come before the shares.
      silence_s: seconds that a silence lasts.
    """

    seed: int = 0
    shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)
    silence_s: float = 600.0

    def __call__(self, number: int, question: Question) -> Fault | None:
        """The fault of request ``number``; None for most."""
        kind = self._kind(number)
        if kind == "429":
            limits = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "1s"}
            return error(429, "Rate limit reached", "rate_limit_exceeded", Retry_After="1", **limits)
        if kind == "500":
            return error(500, "The server had an error")
        if kind == "json":
            return respond(200, b'{"choices": [{"mess')
        if kind == "silence":
            return silence(self.silence_s)
        if kind == "refusal" and question.kind != "chat":
            return error(400, "Your request was rejected by the safety system", "moderation_blocked")
        return Fault(kind) if kind else None

    def _kind(self, number: int) -> str | None:
        for kind, chosen in self.numbers.items():
            if number in chosen:
                return kind
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        left = int.from_bytes(digest[:8], "big") / 2**64
        for kind, share in self.shares.items():
            if left < share:
                return kind
            left -= share
        return None


def parse_faults(texts: Sequence[str], seed: int, silence_s: float) -> PlannedFaults:
    """The faults of a command line: ``429=0.05`` for a share of the requests, ``cut@0,7`` for two of them.

    Raises:
      UserError: an unknown kind, a share or number that is none, or shares above 1.
    """
    shares: dict[str, float] = {}
    numbers: dict[str, frozenset[int]] = {}
    for text in texts:
        by_number = "@" in text
        kind, _, value = text.partition("@" if by_number else "=")
        if kind not in KINDS:
            raise UserError(f"--fault {text}: {kind!r} is not one of {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
        try:
            if by_number:
                numbers[kind] = numbers.get(kind, frozenset()) | {_number(item) for item in value.split(",")}
            else:
                shares[kind] = _share(value)
        except ValueError:
            raise UserError(
                f"--fault {text}: give a share from 0 to 1, as in {kind}=0.05, or request numbers from 0, as in "
                f"{kind}@0,7"
            ) from None
    if sum(shares.values()) > 1:
        raise UserError(f"--fault: the shares {json.dumps(shares)} are together more than 1")
    return PlannedFaults(seed, shares, numbers, silence_s)


def _number(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError
    return int(text)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def change(fault: Fault | None, answer: Text | bytes) -> Text | bytes:
    """The answer that is sent in place of ``answer``."""
    kind = fault.kind if fault else ""
    if isinstance(answer, bytes):
        return NO_PICTURE if kind == "picture" else answer
    return {"nonsense": Text(NONSENSE), "refusal": Text(REFUSAL)}.get(kind, answer)
