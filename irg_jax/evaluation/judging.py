"""Asks a judge about many images at once: each answer is paid once, and one that cannot be read is named."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from irg_jax.benchmarks.benchmark import Problem, UnreadableAnswer
from irg_jax.benchmarks.judge import Question
from irg_jax.core.errors import StorageError, UserError
from irg_jax.endpoints.client import Client, price_of
from irg_jax.endpoints.config import EndpointConfig
from irg_jax.endpoints.endpoint import RefusedError
from irg_jax.endpoints.journal import Answer, Journal
from irg_jax.endpoints.ledger import Ledger, Stopped
from irg_jax.endpoints.pictures import Picture, kind_of
from irg_jax.endpoints.request import Message, Part, Request
from irg_jax.evaluation.config import JudgesConfig
from irg_jax.reporting.wording import duration

CHARS_PER_TOKEN = 4  # of English
_LOG_EVERY = 10.0  # seconds


@dataclasses.dataclass(frozen=True)
class Task:
    """What a judge is asked about one image, or about several together.

    Attributes:
      where: the image, for people.
      images: functions that give the encoded images, in the order in which they are shown.
      questions: each is a request of its own.
      read: from a question and its answer to what it says; raises ``UnreadableAnswer``.
      finish: from what all answers say, in the order of the questions, to the result.
    """

    where: str
    images: tuple[Callable[[], bytes], ...]
    questions: tuple[Question, ...]
    read: Callable[[Question, Answer], Any]
    finish: Callable[[list[Any]], Any]


class Judged(NamedTuple):
    """What came of all tasks.

    Attributes:
      results: of ``Task.finish``, in the order of the tasks, without those that have a problem.
      problems: questions without an answer that can be read.
      models: that the endpoint says have answered, each with its number of answers.
    """

    results: list[Any]
    problems: list[Problem]
    models: Counter[str]


class Judge:
    """One judge. Closing it is up to whoever opened its journal.

    Args:
      name: of the judge in the config.
      config: of all judges.
      journal: of the output folder.
      purpose: what it judges, such as ``wise``: the sums of the journal are told apart by it.
    """

    def __init__(self, name: str, config: JudgesConfig, journal: Journal, purpose: str):
        self.endpoint: EndpointConfig = config.judges[name]
        self._attempts, self._journal, self._purpose = config.attempts, journal, purpose
        self._stop, self._pictures = threading.Event(), _Pictures()
        self._ledger = Ledger(config.budget, journal.spent, self._stop)
        self._client = Client(
            f"judges.{name}", self.endpoint, config.requests, self._pictures, journal, self._ledger, self._stop
        )
        self._models: Counter[str] = Counter()
        self._counting = threading.Lock()

    def estimate(self, tasks: Sequence[Task]) -> float:
        """What all questions cost at one attempt, with answers of full length, in the currency of the budget."""
        return sum(
            price_of(
                self.endpoint,
                len(question.system + question.text) / CHARS_PER_TOKEN + len(task.images) * self.endpoint.image_tokens,
                question.max_tokens or self.endpoint.max_tokens,
            )
            for task in tasks
            for question in task.questions
        )

    def ask(self, tasks: Sequence[Task]) -> Judged:
        """Says what all questions cost, and asks those that the journal does not answer.

        Raises:
          UserError: the budget is used up, or the endpoint refuses every request.
          StorageError: it could not be reached for long.
          KeyboardInterrupt: what was under way is in the journal.
        """
        self._models = Counter()  # of these tasks: another turn may have been answered by another model
        results: dict[int, Any] = {}  # or problems
        calls = sum(len(task.questions) for task in tasks)
        logging.info(
            "%s: %d calls, about %.2f if every answer has its full length; spent so far %.4f, budget %.2f",
            self.endpoint.model, calls, self.estimate(tasks), self._journal.spent, self._ledger.budget,
        )  # fmt: skip
        began = logged = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(self.endpoint.concurrency) as pool:
            numbered = iter(enumerate(tasks))
            running: dict[concurrent.futures.Future[Any], int] = {}
            try:
                while True:
                    # A few more than threads, so that none waits; not all, since each task holds its images.
                    while len(running) < 2 * self.endpoint.concurrency and (entry := next(numbered, None)) is not None:
                        running[pool.submit(self._judge, entry[1])] = entry[0]
                    if not running:
                        break
                    done, _ = concurrent.futures.wait(running, _LOG_EVERY, concurrent.futures.FIRST_COMPLETED)
                    for future in done:
                        number = running.pop(future)
                        results[number] = future.result()
                    if time.monotonic() - logged > _LOG_EVERY:
                        logged = time.monotonic()
                        self._log(len(results), len(tasks), logged - began)
            except BaseException as error:
                # What is under way is paid for: its answers go into the journal.
                self._stop.set()
                logging.info("stops; waits for the answers that are under way")
                concurrent.futures.wait(running)
                raise _reason(running, error) from None
        self._log(len(results), len(tasks), time.monotonic() - began)
        ordered = [results[number] for number in sorted(results)]
        problems = [result for result in ordered if isinstance(result, Problem)]
        return Judged([result for result in ordered if not isinstance(result, Problem)], problems, self._models)

    def changes(self, judged: Judged) -> list[Problem]:
        """A problem where several models answered under one name, or another one than was asked for; else none."""
        names = sorted(judged.models)
        if len(names) < 2 and all(is_model(name, self.endpoint.model) for name in names):
            return []
        told = ", ".join(f"{name} ({judged.models[name]} answers)" for name in names)
        reason = (
            f"{self.endpoint.model} was answered by {told}; compare only scores of one model, and ask one that stays, "
            "in another --out"
        )
        return [Problem("judge changed", self.endpoint.base_url, reason)]

    def _judge(self, task: Task) -> Any:
        with contextlib.ExitStack() as held:
            pictures = tuple(held.enter_context(self._pictures.holding(image())) for image in task.images)
            said = []
            for question in task.questions:
                answer = self._read(task, question, pictures)
                if isinstance(answer, Problem):
                    return answer
                said.append(answer[0])
        return task.finish(said)

    def _read(self, task: Task, question: Question, pictures: tuple[Picture, ...]) -> tuple[Any] | Problem:
        reason = ""
        for attempt in range(1, self._attempts + 1):
            try:
                answer = self._client.ask(self._request(question, pictures, attempt))
            except RefusedError as error:
                refused = f"{question.name}: the endpoint refuses it ({error}); start again to ask again"
                return Problem("unanswered", task.where, f"{refused}, or ask another judge in another --out")
            with self._counting:
                self._models[answer.model or self.endpoint.model] += 1
            if answer.finish == "content_filter":
                reason = f"{question.name}: the endpoint filters its answer"
                continue
            try:
                return (task.read(question, answer),)
            except UnreadableAnswer as error:
                reason = f"{question.name}: {error}"
        more = (
            f"asked {self._attempts} times; raise config.attempts to ask again, or ask another judge in another --out"
        )
        return Problem("unanswered", task.where, f"{reason}; {more}")

    def _request(self, question: Question, pictures: tuple[Picture, ...], attempt: int) -> Request:
        options = self.endpoint.extra_fields()
        if question.logprobs:
            options |= {"logprobs": True, "top_logprobs": 20}
        messages = [Message("system", (question.system,))] if question.system else []
        parts: tuple[Part, ...] = (*pictures, question.text) if question.image_first else (question.text, *pictures)
        messages.append(Message("user", parts))
        return Request(
            step=self._purpose,
            model=self.endpoint.model,
            template="",  # the whole text is part of the messages
            options=json.dumps(options, sort_keys=True),
            max_tokens=question.max_tokens or self.endpoint.max_tokens,
            messages=tuple(messages),
            attempt=attempt,
        )

    def _log(self, done: int, total: int, seconds: float) -> None:
        rate = done / seconds if seconds > 0 else 0.0
        left = f", {duration((total - done) / rate)} left" if rate and done < total else ""
        logging.info("judged %d of %d images; %.4f spent%s", done, total, self._journal.spent, left)


def is_model(name: str, wanted: str) -> bool:
    """Whether a model is the wanted one, or a dated snapshot of it, whoever publishes it under their name."""
    names = [one.rpartition("/")[2].lower() for one in (wanted, name)]
    return re.fullmatch(rf"{re.escape(names[0])}(-\d{{4}}-\d{{2}}-\d{{2}})?", names[1]) is not None


def _reason(running: dict[concurrent.futures.Future[Any], int], error: BaseException) -> BaseException:
    """Why everything stops: where a thread only noticed that another one had stopped, what that one says."""
    if not isinstance(error, Stopped):
        return error
    found = [future.exception() for future in running]
    return next((other for other in found if isinstance(other, UserError | StorageError)), error)


class _Pictures:
    """The images of the requests that are under way, by the hash of their bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[bytes, int]] = {}

    @contextlib.contextmanager
    def holding(self, content: bytes) -> Iterator[Picture]:
        """Keeps an image for as long as the block runs."""
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            self._held[digest] = (content, self._held.get(digest, (content, 0))[1] + 1)
        try:
            yield Picture(digest, f"{digest}.{kind_of(content)}", 0, 0, "")
        finally:
            with self._lock:
                content, count = self._held.pop(digest)
                if count > 1:
                    self._held[digest] = (content, count - 1)

    def read(self, picture: Picture) -> bytes:
        """The bytes of an image that is held."""
        return self._held[picture.digest][0]

    def put(self, content: bytes) -> Picture:
        """A judge makes no pictures."""
        raise NotImplementedError
