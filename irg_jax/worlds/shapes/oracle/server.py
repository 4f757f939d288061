"""A server on a local port: hands each request to a function, shows planted faults, and counts what was asked."""

import collections
import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.oracle.faults import Fault, change
from irg_jax.worlds.shapes.oracle.protocol import (
    PATHS,
    Question,
    Text,
    chat_body,
    count_usage,
    error_body,
    picture_body,
    read_question,
)

MODEL = "shapes-oracle"  # what GET /v1/models lists; requests may name any


class Server:
    """Answers each request by ``answer(question)`` in a thread of its own, from entering the context until leaving it.

    A ``UserError`` of ``answer`` is answered as HTTP 400 with its text.

    Args:
      answer: gives a text for a chat, and the bytes of a picture for the other kinds.
      fault: called with the request's number, from 0, and the question; None for most requests.
      key: what requests must carry as ``Authorization: Bearer KEY``; empty takes any.
      host: address to listen at.
      port: 0 for a free one.
      usage: (tokens read, tokens written) of a question and of so many written ones; None leaves the usage out.

    Attributes:
      questions: all requests, in the order of their numbers.
      times: when each of them came, by ``time.monotonic``.
      answered: how often each ``Question.content`` got an answer that is not cut, a failure or an error.
      most_at_once: the most requests that were under way together.
      headers: of every answer.
    """

    def __init__(
        self, answer: Callable[[Question], Text | str | bytes],
        fault: Callable[[int, Question], Fault | None] = lambda number, question: None, *, key: str = "",
        host: str = "127.0.0.1", port: int = 0,
        usage: Callable[[Question, int], tuple[int, int] | None] = count_usage,
    ):  # fmt: skip
        self.answer, self.fault, self.usage = answer, fault, usage
        self.questions: list[Question] = []
        self.answered: collections.Counter[str] = collections.Counter()
        self.times: list[float] = []
        self.headers: dict[str, str] = {}
        self.most_at_once = self._at_once = self._silent = 0
        self._key, self._host, self._port = key, host, port
        self._closing = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The ``base_url`` for clients."""
        return f"http://{self._host}:{self._http.server_port}/v1"

    def is_held(self) -> bool:
        """Whether there are requests under way, and all of them are held by a silence."""
        with self._lock:
            return 0 < self._at_once == self._silent

    def counts(self) -> dict[str, Any]:
        """How many requests came, of each kind too, and how many were answered."""
        with self._lock:
            kinds = collections.Counter(question.kind for question in self.questions)
            return {"requests": len(self.questions), "kinds": dict(kinds), "answered": sum(self.answered.values())}

    def __enter__(self) -> "Server":
        handler = type("_OwnHandler", (_Handler,), {"oracle": self})
        try:
            self._http = _HTTPServer((self._host, self._port), handler)
        except (OSError, OverflowError) as error:
            raise UserError(f"{self._host}:{self._port}: cannot listen there ({error}); give another port") from error
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def get(self, handler: "_Handler") -> None:
        """Answers a GET."""
        if handler.path == "/v1/models":
            model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "irg_jax"}
            handler.send(200, json.dumps({"object": "list", "data": [model]}).encode())
        elif handler.path == "/v1/irg/requests":
            handler.send(200, json.dumps(self.counts()).encode())
        else:
            self._send_not_found(handler)

    def post(self, handler: "_Handler") -> None:
        """Answers a POST."""
        # Read before anything is refused: what is left unread would be taken for the connection's next request.
        content = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if self._key and handler.headers.get("Authorization") != f"Bearer {self._key}":
            handler.send(401, error_body("Incorrect API key provided", "invalid_api_key"))
            return
        if handler.path not in PATHS:
            self._send_not_found(handler)
            return
        try:
            question = read_question(handler.path, handler.headers.get("Content-Type") or "", content)
        except UserError as error:
            handler.send(400, error_body(str(error)))
            return
        with self._lock:
            number = len(self.questions)
            self.questions.append(question)
            self.times.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._reply(handler, question, self.fault(number, question))
        finally:
            with self._lock:
                self._at_once -= 1

    def _reply(self, handler: "_Handler", question: Question, fault: Fault | None) -> None:
        kind = fault.kind if fault else ""
        if fault and fault.status:
            handler.send(fault.status, fault.body, fault.headers)
            return
        if fault and kind == "silence" and not self._stay_silent(fault.seconds):
            handler.close_connection = True
            return
        try:
            answer = self.answer(question)
        except UserError as error:
            handler.send(400, error_body(str(error)))
            return
        body = self._body(question, change(fault, Text(answer) if isinstance(answer, str) else answer), kind)
        if kind == "cut":
            handler.send(200, body, sent=len(body) // 2)
            return
        with self._lock:
            self.answered[question.content] += 1
        handler.send(200, body, self.headers)

    def _stay_silent(self, seconds: float) -> bool:
        """Waits; False if the server was closed meanwhile."""
        with self._lock:
            self._silent += 1
        closed = self._closing.wait(seconds)
        with self._lock:
            self._silent -= 1
        return not closed

    def _body(self, question: Question, answer: Text | bytes, fault: str) -> bytes:
        if isinstance(answer, Text):
            body, written = chat_body(question, answer, half=fault == "half")
            names = ("prompt_tokens", "completion_tokens")
            if fault == "model":
                body["model"] = f"{body['model']}-other"
        else:
            body, written = picture_body(answer)
            names = ("input_tokens", "output_tokens")
        usage = self.usage(question, written)
        if usage is not None:
            body["usage"] = dict(zip(names, usage, strict=True)) | {"total_tokens": sum(usage)}
        return json.dumps(body).encode()

    def _send_not_found(self, handler: "_Handler") -> None:
        known = ", ".join((*(f"POST {path}" for path in PATHS), "GET /v1/models", "GET /v1/irg/requests"))
        handler.send(404, error_body(f"{handler.command} {handler.path}: not here; the oracle has {known}"))


class _HTTPServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # clients open many connections at once


class _Handler(http.server.BaseHTTPRequestHandler):
    oracle: Server
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes, and the second would wait for the client's acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # noqa: N802, D102  (named by the library)
        with contextlib.suppress(ConnectionError):
            self.oracle.get(self)

    def do_POST(self) -> None:  # noqa: N802, D102
        with contextlib.suppress(ConnectionError):
            self.oracle.post(self)

    def send(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None, *, sent: int | None = None
    ) -> None:
        """Sends a response; only the first ``sent`` bytes of its body, and then the connection ends, where given."""
        self.send_response(status)
        own = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in (own | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])
        if sent is not None:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Says nothing of single requests."""
