"""One request over HTTP by the ``openai`` client: what is sent, what comes back, what a failure means."""

import base64
import binascii
import json
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from irg_jax.core.errors import UserError
from irg_jax.endpoints import rates
from irg_jax.endpoints.config import EndpointConfig, PictureEndpointConfig
from irg_jax.endpoints.pictures import PictureStore
from irg_jax.endpoints.request import Part, Request

_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol"}
_PASSES = {408, 409, 425, 429}  # and all from 500 on
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached")


class Reply(NamedTuple):
    """What an endpoint answered.

    Attributes:
      text: of a chat.
      content: the bytes of a picture.
      finish: as ``journal.Answer``.
      usage: (tokens read, tokens written), None where the endpoint does not say.
      wait: seconds that it asks to wait before the next request.
      model: as ``journal.Answer``; likewise ``logprobs``.
      logprobs: see ``model``.
    """

    text: str
    content: bytes
    finish: str
    usage: tuple[int, int] | None
    wait: float
    model: str = ""
    logprobs: tuple[tuple[str, float], ...] = ()


class TransientError(Exception):
    """A failure that may pass: the same request can be sent again.

    Attributes:
      wait: seconds that the endpoint asks to wait; 0 if it does not say.
      may_cost: whether the endpoint may have charged for it.
    """

    def __init__(self, reason: str, wait: float = 0.0, may_cost: bool = False):
        super().__init__(reason)
        self.wait, self.may_cost = wait, may_cost


class RefusedError(Exception):
    """The endpoint does not want this request (HTTP 400, 413, 422): its content, its length or its fields."""


class UnusableReplyError(UserError):
    """Answers of a form that the command cannot use, each of which costs."""

    may_cost = True


class Endpoint:
    """Sends requests of one step to its endpoint. May be used by several threads.

    Args:
      step: that it is for; names it in errors.
      config: of the endpoint.
      timeout: seconds without a byte.
      pictures: where the pictures of requests are.

    Raises:
      UserError: ``openai`` is not installed, or the key is not in the environment.
    """

    def __init__(self, step: str, config: EndpointConfig, timeout: float, pictures: PictureStore):
        self._step, self._config, self._pictures = step, config, pictures
        self._key = read_key(step, config)
        self._openai = import_openai()
        # Retries are ours: each one is written down and paid from the budget.
        self._client = self._openai.OpenAI(
            base_url=config.base_url, api_key=self._key or "none", max_retries=0, timeout=timeout
        )

    def send(self, request: Request) -> Reply:
        """One try.

        Raises:
          TransientError: it may pass.
          RefusedError: it will not, for this request.
          UserError: it will not, for any request: a wrong key, model or address.
        """
        try:
            response = self._call(request).http_response
            content, headers = response.content, response.headers
        except self._openai.APIStatusError as error:
            raise self._failure(error.status_code, error.response.headers, self._message(error)) from None
        except self._openai.APIConnectionError as error:
            cause = type(error.__cause__).__name__
            reason = "timed out" if isinstance(error, self._openai.APITimeoutError) else "the connection failed"
            raise TransientError(f"{reason} ({cause})", may_cost=cause not in _NEVER_SENT) from None
        wait = rates.requested_wait(headers, refused=False)
        try:
            # The key is taken out of whatever comes back, before anything is made of it.
            body = json.loads(self._without_key(content.decode("utf-8")))
            return _picture(body, wait) if isinstance(self._config, PictureEndpointConfig) else _text(body, wait)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            kind = type(error).__name__
            raise TransientError(f"an answer that is not the protocol's JSON ({kind})", wait, may_cost=True) from None

    def _call(self, request: Request) -> Any:
        model, options = self._config.model, json.loads(request.options)
        if not isinstance(self._config, PictureEndpointConfig):
            messages = [{"role": message.role, "content": self._parts(message.parts)} for message in request.messages]
            fields = {self._config.token_limit: request.max_tokens}
            create = self._client.chat.completions.with_raw_response.create
            return create(model=model, messages=messages, extra_body=options, **fields)
        if self._config.method == "generate":
            generate = self._client.images.with_raw_response.generate
            return generate(model=model, prompt=request.text, extra_body=options)
        shown = [
            (picture.file.rpartition("/")[2], self._pictures.read(picture), picture.media_type)
            for picture in request.pictures
        ]
        edit = self._client.images.with_raw_response.edit
        return edit(model=model, image=shown[0], prompt=request.text, extra_body=options)

    def _parts(self, parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
        if all(isinstance(part, str) for part in parts):
            return "".join(part for part in parts if isinstance(part, str))
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        data = base64.b64encode(self._pictures.read(part)).decode()
        return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}}

    def _failure(self, status: int, headers: Mapping[str, str], message: str) -> Exception:
        where = f"config.{self._step}: {self._config.base_url} answers HTTP {status}"
        if status in (401, 403):
            # Its message may repeat a part of the key.
            variable = self._config.key_env or "none; name the variable that holds the key"
            return UserError(
                f"{where} to the key of {self._step}.key_env ({variable}); give one that may use the model"
            )
        if status == 404:
            return UserError(f"{where} for {self._config.model} ({message}); check base_url and model")
        if status == 429 and any(word in message for word in _OUT_OF_MONEY):
            return UserError(f"{where}: the account has no money left; top it up and start again")
        if status in _PASSES or status >= 500:
            wait = rates.requested_wait(headers, refused=status in (429, 503))
            return TransientError(f"HTTP {status}", wait, may_cost=status in (408, 504))
        return RefusedError(f"HTTP {status}: {message}")

    def _message(self, error: Any) -> str:
        """The first line of what the endpoint says of an error, with its code."""
        body = error.body if isinstance(error.body, dict) else {}
        said = str(body.get("message") or error.body or "no reason given").strip().splitlines()[0][:300]
        code = f"{body['code']}: " if isinstance(body.get("code"), str) else ""
        return self._without_key(f"{code}{said}")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def read_key(step: str, config: EndpointConfig) -> str:
    """The key of an endpoint, from the environment; empty where it needs none. Raises UserError where it is missing."""
    if not config.key_env:
        return ""
    key = os.environ.get(config.key_env, "").strip()
    if not key:
        raise UserError(
            f"config.{step}.key_env: the environment has no {config.key_env}; export the key of the endpoint"
        )
    if not key.isascii() or any(letter.isspace() for letter in key):
        raise UserError(f"config.{step}.key_env: {config.key_env} holds something that is no key; export it again")
    return key


def quiet_client() -> None:
    """The client says every request at the level of information; only its warnings are shown from now on."""
    for library in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        logging.getLogger(library).setLevel(logging.WARNING)


def import_openai() -> Any:
    """The client library. Raises UserError where it is not installed."""
    try:
        import openai  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise UserError(
            "endpoints are asked with the package openai; install the extra endpoints: pip install 'irg-jax[endpoints]'"
        ) from error
    return openai


def _text(body: Any, wait: float) -> Reply:
    choice = body["choices"][0]
    text = choice["message"].get("content") or ""
    if not isinstance(text, str):
        raise TypeError
    finish, usage = str(choice.get("finish_reason") or "stop"), _usage(body, "prompt", "completion")
    return Reply(text, b"", finish, usage, wait, str(body.get("model") or ""), _first_logprobs(choice))


def _first_logprobs(choice: Any) -> tuple[tuple[str, float], ...]:
    tokens = (choice.get("logprobs") or {}).get("content") or []
    candidates = tokens[0].get("top_logprobs") or [] if tokens else []
    return tuple((str(candidate["token"]), float(candidate["logprob"])) for candidate in candidates)


def _picture(body: Any, wait: float) -> Reply:
    made = body["data"][0]
    if not made.get("b64_json") and made.get("url"):
        raise UnusableReplyError(
            "config.image2: the endpoint answers with the address of a picture, not with the picture; add "
            '"response_format": "b64_json" to config.image2.options'
        )
    try:
        content = base64.b64decode(made["b64_json"], validate=True)
    except (binascii.Error, TypeError):
        content = str(made["b64_json"]).encode()  # kept as it came; the checks refuse it
    return Reply("", content, "stop", _usage(body, "input", "output"), wait)


def _usage(body: Any, read: str, written: str) -> tuple[int, int] | None:
    usage = body.get("usage")
    if not isinstance(usage, dict) or f"{read}_tokens" not in usage:
        return None
    return int(usage[f"{read}_tokens"]), int(usage.get(f"{written}_tokens") or 0)
