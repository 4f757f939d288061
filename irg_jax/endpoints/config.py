"""Which endpoint is asked, what it costs, and how patiently."""

import dataclasses
import json
import re
from typing import Any, Literal

from irg_jax.core.config.ranges import at_least
from irg_jax.core.errors import check

# An environment variable as people name them. A key that was written here by mistake has other characters.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,39}|")
# One answer to one request, whose length is in ``max_tokens``.
_OWN_FIELDS = {"model", "messages", "prompt", "image", "n", "stream", "max_tokens", "max_completion_tokens"}


@dataclasses.dataclass(frozen=True)
class PriceConfig:
    """What the endpoint charges, in the currency of ``budget``; 0 for what costs nothing, None for what is not said.

    Attributes:
      input_tokens: a million tokens that it reads.
      output_tokens: a million tokens that it writes.
      picture: one picture that it makes.
    """

    input_tokens: float | None
    output_tokens: float | None
    picture: float | None

    def __post_init__(self) -> None:
        given = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None]
        at_least(self, 0.0, *given)


@dataclasses.dataclass(frozen=True)
class EndpointConfig:
    """An OpenAI-compatible endpoint and a model on it.

    Attributes:
      base_url: up to and with ``/v1``.
      model: its name there.
      key_env: the environment variable that holds the key; empty for an endpoint without one.
      concurrency: requests at a time.
      price: for the estimate, the running cost and the budget.
      max_tokens: of an answer. For pictures it is not sent: it is the tokens that one picture is billed as at most, 0
        where pictures have a price each.
      token_limit: the field of the request that carries ``max_tokens``; newer hosted models want the longer name.
      image_tokens: that the endpoint counts for one picture that it is shown, at most; for estimate and budget.
      options: more fields of the request, as a JSON object, such as ``{"temperature": 0.7}``.
    """

    base_url: str
    model: str
    key_env: str
    concurrency: int
    price: PriceConfig
    max_tokens: int
    token_limit: Literal["max_tokens", "max_completion_tokens"]
    image_tokens: int
    options: str

    def __post_init__(self) -> None:
        url = re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", self.base_url)
        check(url, "base_url", "must be http(s)://HOST/v1, without user, password or query; keys go into key_env")
        check(self.model, "model", "is empty; give the name of a model that the endpoint serves")
        # The value is not shown: it may be a key.
        named = _VARIABLE.fullmatch(self.key_env)
        check(named, "key_env", "is not the NAME of an environment variable in capitals; keys stay out of configs")
        at_least(self, 1, "concurrency")
        at_least(self, 0, "max_tokens", "image_tokens")
        self.extra_fields()

    def check_prices(self, section: str) -> None:
        """Raises ConfigError, with the name of this section, where a price is not given: no budget would hold."""
        for name, price in dataclasses.asdict(self.price).items():
            message = "is not given; write what the endpoint charges, 0 for nothing"
            check(price is not None, f"{section}.price.{name}", message)

    def extra_fields(self) -> dict[str, Any]:
        """The fields of ``options``. Raises ConfigError where they are not a JSON object."""
        try:
            fields = json.loads(self.options)
        except ValueError:
            fields = None
        check(isinstance(fields, dict), "options", f"{self.options!r:.80} is not a JSON object; write {{}} for none")
        for name in _OWN_FIELDS & fields.keys():
            check(False, "options", f"{name} is set by the command; leave it out")
        return dict(fields)


@dataclasses.dataclass(frozen=True)
class PictureEndpointConfig(EndpointConfig):
    """An endpoint that makes pictures.

    Attributes:
      method: ``generate`` from the prompt and thinking 1 (images.generate), or ``edit`` of image 1 (images.edit).
    """

    method: Literal["generate", "edit"]


@dataclasses.dataclass(frozen=True)
class RequestsConfig:
    """Patience with endpoints, in seconds.

    Attributes:
      timeout_s: without a byte from the endpoint, after which a request is sent again.
      give_up_after_s: of failures of one request, after which the command ends with status 75.
    """

    timeout_s: float
    give_up_after_s: float

    def __post_init__(self) -> None:
        at_least(self, 0.01, "timeout_s")
        at_least(self, 0.0, "give_up_after_s")
