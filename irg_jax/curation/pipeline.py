"""Runs all records: teachers in threads, the own model in batches on this thread, whatever ends it."""

import collections
import concurrent.futures
import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from irg_jax.core.errors import StorageError, UserError
from irg_jax.curation.config import CurateConfig
from irg_jax.curation.outputs import Lines
from irg_jax.curation.prompts import Entry
from irg_jax.curation.steps import Draft, Rejected, Steps
from irg_jax.curation.template import Template
from irg_jax.curation.weak_images import WeakImages
from irg_jax.endpoints.client import Client
from irg_jax.endpoints.journal import Journal
from irg_jax.endpoints.ledger import Ledger, Stopped
from irg_jax.endpoints.pictures import PictureFolder
from irg_jax.reporting.wording import duration

_LOG_EVERY = 10.0  # seconds
_LOG_POINTS = 31  # the rate is that of five minutes
_Outcome = Draft | Rejected
_Then = Callable[[concurrent.futures.Executor, int, _Outcome], None]


class Pipeline:
    """Makes the records of all entries.

    Args:
      config: of the command.
      entries: of the input.
      templates: by name.
      out: the output folder, which is there and locked.
      journal: of that folder.

    Raises:
      UserError: a teacher has no key, or the checkpoint is not there.

    Attributes:
      records: finished ones.
      rejected: and those that are not used.
      unfinished: how many are neither, because it was stopped.
    """

    def __init__(
        self,
        config: CurateConfig,
        entries: Sequence[Entry],
        templates: dict[str, Template],
        out: Path,
        journal: Journal,
    ):
        self._config, self._entries, self._journal = config, entries, journal
        self._stop = threading.Event()
        self._ledger = Ledger(config.budget, journal.spent, self._stop)
        pictures = PictureFolder(out)
        teachers = {
            step: Client(step, teacher, config.requests, pictures, journal, self._ledger, self._stop)
            for step, teacher in config.teachers().items()
        }
        self._steps = Steps(config, teachers, templates, pictures)
        self._weak = WeakImages(config, pictures, journal) if "image1" in config.steps else None
        self._batch = config.image1.batch_size if self._weak is not None else 0
        self._threads = sum(teacher.concurrency for teacher in config.teachers().values()) or 1
        self._numbered = enumerate(entries)
        self._running: dict[Future[_Outcome], tuple[int, _Then]] = {}
        self._waiting: list[tuple[int, Draft]] = []  # for the own model
        self._ended_by: BaseException | None = None
        self.records, self.rejected, self.unfinished = Lines(out), Lines(out), 0
        self._points = collections.deque([(time.monotonic(), 0)], maxlen=_LOG_POINTS)

    def run(self, repeated: Sequence[tuple[Entry, Entry]] = ()) -> BaseException | None:
        """Makes what is missing. However it ends, ``records`` and ``rejected`` have all that the journal answers.

        Args:
          repeated: pairs of lines that say the same; the first of each is rejected.

        Returns:
          what ended it before all records were done, to be raised once the results are written: the budget is used up
          or an endpoint refuses everything (UserError), one was not reached for long (StorageError), or Ctrl-C.
        """
        self._total = len(self._entries) + len(repeated)
        for number, (entry, first) in enumerate(repeated, start=len(self._entries)):
            reason = f"the same as {first.where}"
            self.rejected.add(
                number, _line(entry, rule="repeated", step="prompt", reason=reason, attempts=0, answer="")
            )
        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            try:
                try:
                    self._coordinate(pool)
                except KeyboardInterrupt as interrupt:
                    self._halt(interrupt)
                    self._coordinate(pool)
            except BaseException:
                self._stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        self._log(final=True)
        return self._ended_by

    def _coordinate(self, pool: concurrent.futures.Executor) -> None:
        """Keeps enough records under way for all threads and for the next batch, until all are done.

        Once it is halted, records go on as far as the journal answers.
        """
        window = 2 * (self._batch + self._threads)
        while True:
            while len(self._running) + len(self._waiting) < window:
                number, entry = next(self._numbered, (-1, None))
                if entry is None:
                    break
                self._submit(pool, number, functools.partial(self._steps.begin, entry), self._find_or_wait)
            if self._weak is not None and self._is_batch_ready():
                batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
                outcomes = self._weak.sample([draft for _, draft in batch])
                for (number, _), outcome in zip(batch, outcomes, strict=True):
                    self._finish(pool, number, outcome)
            elif not self._running:
                return
            done, _ = concurrent.futures.wait(
                self._running, timeout=_LOG_EVERY, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                number, then = self._running.pop(future)
                try:
                    then(pool, number, future.result())
                except Stopped:
                    self.unfinished += 1
                except (UserError, StorageError) as error:
                    self.unfinished += 1
                    self._halt(error)
            self._log()

    def _submit(self, pool: concurrent.futures.Executor, number: int, work: Callable[[], Draft], then: _Then) -> None:
        self._running[pool.submit(_caught, work)] = number, then

    def _is_batch_ready(self) -> bool:
        """Whether a batch is full, or the last one has all that it will get."""
        return len(self._waiting) >= self._batch or (bool(self._waiting) and not self._running)

    def _find_or_wait(self, pool: concurrent.futures.Executor, number: int, outcome: _Outcome) -> None:
        """After thinking 1: on with the image, if it is there; else it is sampled with the next batch."""
        if self._weak is not None and isinstance(outcome, Draft) and outcome.image1 is None:
            try:
                if not self._weak.find(outcome):
                    if self._stop.is_set():
                        raise Stopped
                    self._waiting.append((number, outcome))
                    return
            except Rejected as rejected:
                outcome = rejected
        self._finish(pool, number, outcome)

    def _finish(self, pool: concurrent.futures.Executor, number: int, outcome: _Outcome) -> None:
        if isinstance(outcome, Draft):
            self._submit(pool, number, functools.partial(self._steps.finish, outcome), self._note)
        else:
            self._note(pool, number, outcome)

    def _halt(self, reason: BaseException) -> None:
        """Sends and samples nothing more; what is under way is waited for, because it is paid for."""
        if self._ended_by is None:
            self._ended_by = reason
            logging.info("stopping; waiting for the answers that are under way")
        self._stop.set()
        self.unfinished += len(self._waiting)
        self._waiting.clear()

    def _note(self, pool: concurrent.futures.Executor, number: int, outcome: _Outcome) -> None:
        """Takes what became of a record."""
        entry = self._entries[number]
        if isinstance(outcome, Draft):
            self.records.add(number, outcome.record())
            return
        what = {name: getattr(outcome, name) for name in ("step", "rule", "reason", "attempts", "answer")}
        self.rejected.add(number, _line(entry, **what))

    def _log(self, final: bool = False) -> None:
        now, done = time.monotonic(), len(self.records) + len(self.rejected)
        if not final and now - self._points[-1][0] < _LOG_EVERY:
            return
        # Over the last minutes: what the journal answers at the start takes no time.
        self._points.append((now, done))
        rate = (done - self._points[0][1]) / max(now - self._points[0][0], 1e-9)
        left = f", about {duration((self._total - done) / rate)} left" if rate and not final else ""
        ledger = self._ledger
        logging.info(
            "%d of %d records (%d rejected), %.2f/s%s; %.4f of %.4f spent, %.4f under way",
            done, self._total, len(self.rejected), rate, left, ledger.spent, ledger.budget, ledger.reserved,
        )  # fmt: skip


def _caught(work: Callable[[], Draft]) -> _Outcome:
    try:
        return work()
    except Rejected as rejected:
        return rejected


def _line(entry: Entry, **what: Any) -> dict[str, Any]:
    return {"key": entry.key, "prompt": entry.prompt, "where": entry.where, **what}
