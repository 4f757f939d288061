"""The config of judges: which endpoints, at what price, how patiently."""

import dataclasses
from typing import Literal

from ml_collections import ConfigDict

from irg_jax.core.config.ranges import at_least
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError, check
from irg_jax.endpoints.config import EndpointConfig, RequestsConfig


@dataclasses.dataclass(frozen=True)
class JudgesConfig:
    """All of it. ``configs/judges.py`` has every key, with its meaning.

    Attributes:
      judges: endpoints by a name of one's own, such as ``qwen``.
      budget: in the currency of the prices; nothing is sent that could exceed it.
      attempts: how often a judge is asked about one image before it counts as unanswered.
      template: a file, or a folder of files, with the official template of the benchmark; empty for our own, whose
        scores are not comparable with published ones.
      template_choice: ``first`` where a benchmark has several templates, or ``random``, as its official scorer.
      requests: time-outs.
    """

    judges: dict[str, EndpointConfig]
    budget: float
    attempts: int
    template: str
    template_choice: Literal["first", "random"]
    requests: RequestsConfig

    def __post_init__(self) -> None:
        check(self.judges, "judges", "is empty; give at least one endpoint")
        at_least(self, 0.0, "budget")
        at_least(self, 1, "attempts")
        for name, judge in self.judges.items():
            judge.check_prices(f"judges.{name}")
            check(judge.max_tokens >= 1, f"judges.{name}.max_tokens", "must be at least 1")

    def chosen(self, name: str | None) -> tuple[str, EndpointConfig]:
        """The judge of this name, or the only one. Raises UserError where that is not one."""
        if name is None and len(self.judges) == 1:
            name = next(iter(self.judges))
        if name not in self.judges:
            raise UserError(f"--judge: {name!r} is not one of {', '.join(self.judges)}")
        return name, self.judges[name]


def parse_judges(config: ConfigDict) -> JudgesConfig:
    """The typed config. Raises ConfigError for a key or value that cannot be."""
    return dataclass_from_mapping(JudgesConfig, config)
