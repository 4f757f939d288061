"""Asks an endpoint until there is an answer, within the budget, and never twice for the same."""

import logging
import threading
import time

from irg_jax.core.errors import StorageError, UserError
from irg_jax.endpoints import rates
from irg_jax.endpoints.config import EndpointConfig, PictureEndpointConfig, RequestsConfig
from irg_jax.endpoints.endpoint import Endpoint, RefusedError, Reply, TransientError
from irg_jax.endpoints.journal import Answer, Journal
from irg_jax.endpoints.ledger import Ledger, Stopped
from irg_jax.endpoints.pictures import PictureStore
from irg_jax.endpoints.request import Request

_REFUSALS = 3  # of the first requests, after which it is not the request that is wrong
_PER_MESSAGE = 64  # tokens that an endpoint adds to a message, at most
_LOCKS = 4096


class Client:
    """Asks one endpoint for one step. May be used by several threads.

    Args:
      step: that it is for.
      config: of the endpoint.
      requests: its patience.
      pictures: where pictures are kept.
      journal: where answers are kept.
      ledger: the budget.
      stop: set when everything stops.

    Raises:
      UserError: ``openai`` is not installed, or the key is not in the environment.
    """

    def __init__(
        self, step: str, config: EndpointConfig, requests: RequestsConfig, pictures: PictureStore, journal: Journal,
        ledger: Ledger, stop: threading.Event,
    ):  # fmt: skip
        self.config = config
        self._step, self._pictures, self._journal, self._ledger, self._stop = step, pictures, journal, ledger, stop
        self._give_up_after = requests.give_up_after_s
        self._endpoint = Endpoint(step, config, requests.timeout_s, pictures)
        self._places = threading.Semaphore(config.concurrency)
        self._pause = rates.Pause(stop)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._refusals, self._dearer = 0, False

    def ask(self, request: Request) -> Answer:
        """The answer to a request, from the journal if it is there.

        Raises:
          RefusedError: the endpoint does not want this request.
          UserError: it does not want any, or the budget is used up.
          StorageError: it could not be reached for long.
          Stopped: everything stops.
        """
        # Two records may ask the same: the second one waits for the first one's answer.
        with self._locks[int(request.key[:8], 16) % _LOCKS]:
            found = self._journal.find(request.key, request.max_tokens)
            if found is not None:
                return found
            try:
                return self._ask_until_answered(request)
            except (UserError, StorageError):
                self._stop.set()  # at once: other threads are about to send
                raise

    def _ask_until_answered(self, request: Request) -> Answer:
        began, failures = 0.0, 0
        while True:
            try:
                return self._ask_once(request)
            except TransientError as error:
                now = time.monotonic()
                began, failures = began or now, failures + 1
                wait = error.wait or rates.back_off(failures)
                if now + wait - began > self._give_up_after:
                    raise StorageError(
                        f"config.{self._step}: {self.config.base_url} gives no answer ({error}), tried {failures} "
                        f"times in {now - began:.0f} s; start again later, nothing is paid for twice"
                    ) from error
                logging.warning("%s: %s; next try in %.1f s", self._step, error, wait)
                if not error.wait:
                    self._stop.wait(wait)  # else all threads of the client pause already
            except RefusedError as error:
                self._refusals += 1
                if self._refusals >= _REFUSALS and not self._journal.answers(self._step, self.config.model):
                    raise UserError(
                        f"config.{self._step}: {self.config.base_url} refuses every request ({error}); check model and "
                        "options"
                    ) from error
                raise

    def _ask_once(self, request: Request) -> Answer:
        with self._places:
            self._pause.wait()
            if self._stop.is_set():
                raise Stopped
            at_most = highest_cost(self.config, request)
            self._ledger.reserve(at_most)
            cost = at_most  # whatever ends this unexpectedly, it may have been paid for
            try:
                number = self._journal.asked(self._step, self.config.model, at_most)
                try:
                    reply = self._endpoint.send(request)
                except (TransientError, RefusedError, UserError) as error:
                    cost = at_most if getattr(error, "may_cost", False) else 0.0
                    self._journal.failed(number, cost, str(error))
                    # For all threads: the endpoint counts their requests together.
                    self._pause.extend(getattr(error, "wait", 0.0))
                    raise
                answer = self._answer(reply, request.max_tokens, at_most)
                self._journal.answered(number, request.key, answer)
                cost = answer.cost
            finally:
                self._ledger.settle(at_most, cost)
        # The limit of a day is not waited for here: the next request is refused, and says how long to wait.
        self._pause.extend(min(reply.wait, rates.LONGEST_BACK_OFF))
        return answer

    def _answer(self, reply: Reply, max_tokens: int, at_most: float) -> Answer:
        """What is kept of a reply, with its cost: the most that it may cost where the endpoint counts no tokens."""
        makes_pictures = isinstance(self.config, PictureEndpointConfig)
        read, written = reply.usage or (0, 0)
        cost = at_most if reply.usage is None else price_of(self.config, read, written)
        if cost > at_most and not self._dearer:
            self._dearer = True
            logging.warning(
                "%s: an answer cost %.4f, more than the %.4f set aside for it; raise config.%s.image_tokens and "
                "max_tokens, or such differences may exceed the budget", self._step, cost, at_most, self._step,
            )  # fmt: skip
        return Answer(
            text=reply.text.strip(),
            picture=self._pictures.put(reply.content) if makes_pictures else None,
            finish=reply.finish,
            max_tokens=max_tokens,
            model=reply.model,
            logprobs=reply.logprobs,
            input_tokens=read,
            output_tokens=written,
            cost=cost,
        )


def price_of(config: EndpointConfig, input_tokens: float, output_tokens: float) -> float:
    """What one answer costs, in the currency of the prices; one picture where the endpoint makes pictures."""
    price = config.price
    pictures = 1 if isinstance(config, PictureEndpointConfig) else 0
    tokens = input_tokens * (price.input_tokens or 0.0) + output_tokens * (price.output_tokens or 0.0)
    return tokens / 1e6 + pictures * (price.picture or 0.0)


def highest_cost(config: EndpointConfig, request: Request) -> float:
    """What a request can cost at most: no tokenizer makes more tokens of a text than it has bytes."""
    tokens = len(request.text.encode("utf-8", "replace")) + _PER_MESSAGE * len(request.messages)
    return price_of(config, tokens + config.image_tokens * len(request.pictures), request.max_tokens)
