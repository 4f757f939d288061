"""A server that speaks the protocol of chat completions and images, with planted faults, and counts what is asked."""

import base64
import collections
import contextlib
import email
import email.policy
import hashlib
import http.server
import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

KEY = "sk-test-0123456789abcdef"


class Question(NamedTuple):
    """A request: its kind (chat, generate, edit), its text, the pictures in it, and the whole body."""

    kind: str
    text: str
    pictures: tuple[bytes, ...]
    body: dict[str, Any]

    @property
    def content(self) -> str:
        """The same for the same question."""
        shown = [hashlib.sha256(picture).hexdigest() for picture in self.pictures]
        return hashlib.sha256(json.dumps([self.kind, self.text, shown]).encode()).hexdigest()


class Server:
    """Answers by ``answer(question)``: text, or bytes of a picture. ``fault(number, question)`` may answer first.

    A fault is (status, headers, body bytes), ``"cut"``, ``"half"``, a number of seconds to be silent for, or None.
    """

    def __init__(self, answer: Callable[[Question], str | bytes], fault: Callable[[int, Question], Any] | None = None):
        self.answer, self.fault = answer, fault or (lambda number, question: None)
        self.questions: list[Question] = []
        self.answered: collections.Counter[str] = collections.Counter()
        self.times: list[float] = []
        self.keys: set[str] = set()
        self.most_at_once = self._at_once = self._silent = 0
        self._closing = threading.Event()
        self.usage: dict[str, int] | None = {"read": 100, "written": 50}
        self.headers: dict[str, str] = {}
        self.lock = threading.Lock()

    def is_held(self) -> bool:
        """Whether every request that has come and is not answered is held by a fault."""
        with self.lock:
            return 0 < self._at_once == self._silent

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> "Server":
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                server._handle(self)

            def log_message(self, *arguments):
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def _handle(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(ConnectionError):
            question = _read(handler)
            with self.lock:
                number = len(self.questions)
                self.questions.append(question)
                self.times.append(time.monotonic())
                self.keys.add(handler.headers["Authorization"].removeprefix("Bearer "))
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                self._reply(handler, question, self.fault(number, question))
            finally:
                with self.lock:
                    self._at_once -= 1

    def _reply(self, handler: http.server.BaseHTTPRequestHandler, question: Question, fault: Any) -> None:
        if isinstance(fault, tuple):
            status, headers, body = fault
            _send(handler, status, headers, body)
            return
        if isinstance(fault, float):
            with self.lock:
                self._silent += 1
            ended = self._closing.wait(fault)
            with self.lock:
                self._silent -= 1
            if ended:
                return
        answer = self.answer(question)
        body = json.dumps(self._body(question, answer, half=fault == "half")).encode()
        if fault == "cut":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body[: len(body) // 2])
            handler.close_connection = True
            return
        with self.lock:
            self.answered[question.content] += 1
        _send(handler, 200, self.headers, body)

    def _body(self, question: Question, answer: str | bytes, half: bool) -> dict[str, Any]:
        if question.kind == "chat":
            text = answer[: len(answer) // 2] if half else answer
            message = {"role": "assistant", "content": text}
            body = {"choices": [{"index": 0, "message": message, "finish_reason": "length" if half else "stop"}]}
            names = ("prompt_tokens", "completion_tokens")
        else:
            body = {"created": 0, "data": [{"b64_json": base64.b64encode(answer).decode()}]}
            names = ("input_tokens", "output_tokens")
        if self.usage is not None:
            body["usage"] = dict(zip(names, self.usage.values(), strict=True))
        return body


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> tuple[int, dict, bytes]:
    """A fault: an HTTP error in the protocol's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, json.dumps({"error": {"message": message, "type": "test", "code": code}}).encode()


def _send(handler: http.server.BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    handler.send_response(status)
    for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def _read(handler: http.server.BaseHTTPRequestHandler) -> Question:
    content = handler.rfile.read(int(handler.headers["Content-Length"]))
    if handler.path == "/v1/images/edits":
        head = f"Content-Type: {handler.headers['Content-Type']}\r\n\r\n".encode()
        fields = {}
        for part in email.message_from_bytes(head + content, policy=email.policy.HTTP).iter_parts():
            fields[part.get_param("name", header="content-disposition")] = part.get_payload(decode=True)
        texts = {name: value.decode() for name, value in fields.items() if name != "image"}
        return Question("edit", texts["prompt"], (fields["image"],), texts)
    body = json.loads(content)
    if handler.path == "/v1/images/generations":
        return Question("generate", body["prompt"], (), body)
    assert handler.path == "/v1/chat/completions", handler.path
    texts, pictures = [], []
    for message in body["messages"]:
        parts = message["content"]
        for part in [{"type": "text", "text": parts}] if isinstance(parts, str) else parts:
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                found = re.fullmatch(r"data:image/(?:png|jpeg|webp);base64,(.*)", part["image_url"]["url"])
                pictures.append(base64.b64decode(found[1], validate=True))
    return Question("chat", "\n".join(texts), tuple(pictures), body)
