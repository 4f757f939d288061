"""Every request and every answer, in one file that only grows: what is in it is never paid for again."""

import collections
import dataclasses
import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.storage import retry
from irg_jax.endpoints.pictures import Picture

FILE = "journal.jsonl"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an endpoint answered.

    Attributes:
      text: of a chat; empty for a picture.
      picture: or None.
      finish: why it ended: ``stop``, ``length`` where it was cut off, ``content_filter``.
      max_tokens: that it was allowed.
      input_tokens: that the endpoint counted; likewise ``output_tokens``.
      output_tokens: see ``input_tokens``.
      cost: in the currency of the budget.
      model: that the endpoint says it was; empty if it does not say.
      logprobs: of the candidates for the first token, where they were asked for.
    """

    text: str = ""
    picture: Picture | None = None
    finish: str = "stop"
    max_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    model: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass
class Spending:
    """The requests to one model for one step: counts, tokens, and costs in the currency of the budget.

    ``unanswered`` is what requests may have cost that were sent and got no answer: cut off, timed out, or under way
    when the process died. It counts as spent.
    """

    requests: int = 0
    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    unanswered: float = 0.0


class Journal:
    """Appends to ``OUT/journal.jsonl`` and finds answers in it. Each line is on the disk before the call returns.

    Its lines: ``asked`` (number, step, model, the most that it may cost), then ``answered`` or ``failed`` with that
    number; ``sampled`` for the pictures of the own model, which cost nothing.

    Raises:
      UserError: a line is damaged. Half a line at the end, from a process that was killed, is dropped and logged.
    """

    def __init__(self, out: Path):
        self._path = out / FILE
        self._lock = threading.Lock()
        self._found: dict[str, tuple[int, int]] = {}  # key to position and length of its line
        self._open: dict[int, tuple[str, str, float]] = {}  # requests without an answer
        self._numbers = 0
        self.spending: dict[tuple[str, str], Spending] = collections.defaultdict(Spending)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        self._end = 0
        for line in self._complete_lines():
            self._read(line)
            self._end += len(line)
        for step, model, at_most in self._open.values():
            self.spending[step, model].unanswered += at_most
        self._open.clear()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._file)

    @property
    def spent(self) -> float:
        """Everything that was or may have been paid."""
        with self._lock:
            return sum(entry.cost + entry.unanswered for entry in self.spending.values())

    def answers(self, step: str, model: str) -> int:
        """How many answers of a model for a step there are."""
        with self._lock:
            return self.spending[step, model].answers if (step, model) in self.spending else 0

    def find(self, key: str, max_tokens: int = 0) -> Answer | None:
        """The answer to a request; None if there is none, or one cut off at fewer tokens than are allowed now."""
        with self._lock:
            place = self._found.get(key)
        if place is None:
            return None
        line = json.loads(os.pread(self._file, place[1], place[0]))
        picture = Picture(**line["picture"]) if line.get("picture") else None
        names = {field.name for field in dataclasses.fields(Answer)} - {"picture", "logprobs"}
        logprobs = tuple((token, logprob) for token, logprob in line.get("logprobs", ()))
        answer = Answer(picture=picture, logprobs=logprobs, **{name: line[name] for name in names if name in line})
        return None if answer.finish == "length" and answer.max_tokens < max_tokens else answer

    def asked(self, step: str, model: str, at_most: float) -> int:
        """A request is about to be sent, which may cost so much. Returns its number."""
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._append({"asked": number, "step": step, "model": model, "at_most": at_most})
        return number

    def answered(self, number: int, key: str, answer: Answer) -> None:
        """A request was answered."""
        values = {name: value for name, value in dataclasses.asdict(answer).items() if value not in ("", None, ())}
        with self._lock:
            self._append({"answered": number, "key": key, **values})

    def failed(self, number: int, cost: float, reason: str) -> None:
        """A request got no answer; ``cost`` is what it may have cost."""
        with self._lock:
            self._append({"failed": number, "cost": cost, "reason": reason})

    def sampled(self, key: str, picture: Picture) -> None:
        """The own model made a picture."""
        with self._lock:
            self._append({"sampled": key, "picture": dataclasses.asdict(picture)})

    def _append(self, line: dict[str, Any]) -> None:
        content = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

        def write() -> None:
            # A try that failed half-way is written over.
            os.ftruncate(self._file, self._end)
            written = 0
            while written < len(content):
                written += os.pwrite(self._file, content[written:], self._end + written)
            os.fsync(self._file)

        retry(write, f"{self._path}: cannot be written")
        self._note(line, len(content))
        self._end += len(content)

    def _complete_lines(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line
                else:
                    logging.warning("%s: dropped half a line at its end, from a process that was killed", self._path)
        os.ftruncate(self._file, self._end)

    def _read(self, line: bytes) -> None:
        try:
            self._note(json.loads(line), len(line))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self._path}: the line at byte {self._end} is damaged ({type(error).__name__}); remove that line, "
                "what it answers is asked again"
            ) from error

    def _note(self, line: dict[str, Any], length: int) -> None:
        """Takes one line into the sums and the index; it begins at ``self._end``."""
        if "sampled" in line:
            self._found[line["sampled"]] = (self._end, length)
            return
        if "asked" in line:
            number = int(line["asked"])
            self._open[number] = (line["step"], line["model"], float(line["at_most"]))
            self._numbers = max(self._numbers, number)
            self.spending[line["step"], line["model"]].requests += 1
            return
        answered = "answered" in line
        step, model, _ = self._open.pop(int(line["answered" if answered else "failed"]))
        entry = self.spending[step, model]
        if not answered:
            entry.unanswered += line["cost"]
            return
        self._found[line["key"]] = (self._end, length)
        entry.answers += 1
        entry.cost += line["cost"]
        entry.input_tokens += line["input_tokens"]
        entry.output_tokens += line["output_tokens"]
