"""A score is comparable only where the judge was asked as the official scorer asks."""

import dataclasses
import pathlib
from collections import Counter

import pytest

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.judge import Template
from irg_jax.benchmarks.wise.judge import PROTOCOLS
from irg_jax.endpoints.config import EndpointConfig, PriceConfig
from irg_jax.evaluation.judging import Judged
from irg_jax.evaluation.scoring import wise
from irg_jax.evaluation.scoring.evidence import Sources

OFFICIAL = Template("{prompt} {explanation}", "system", "abc", "official", True)


class Judge:
    """Answers nothing; what it is asked with is in ``endpoint``."""

    def __init__(self, model, options):
        self.endpoint = EndpointConfig("http://x/v1", model, "", 1, PriceConfig(0, 0, 0), 10, "max_tokens", 0, options)

    def ask(self, tasks):
        return Judged([], [], Counter({self.endpoint.model: 1}))

    def changes(self, judged):
        return []


@pytest.mark.parametrize(
    ("version", "options", "comparable"),
    [
        ("legacy", '{"temperature": 0.0}', True),
        ("legacy", '{"temperature": 1.0}', False),
        ("legacy", "{}", False),  # the endpoint's own temperature
        ("verified", '{"temperature": 0}', False),  # it would think
        ("verified", '{"temperature": 0, "chat_template_kwargs": {"enable_thinking": false}}', True),
    ],
)
def test_wise_is_comparable_with_the_official_options_only(monkeypatch, version, options, comparable):
    protocol = PROTOCOLS[version]
    monkeypatch.setattr(type(protocol), "template", lambda self, path: OFFICIAL)
    item = Item("1", "a cat", "CULTURE", 1, {"Explanation": "an animal"})
    prompts = PromptSet("wise", version, (item,), "abc", 1000)
    sources = Sources("m", pathlib.Path(), {}, None, None, lambda: Judge(protocol.judge, options))
    found = wise.score(prompts, FoundImages({}, ()), sources)
    assert found.comparable == comparable
    assert '"temperature": 0' in found.protocol["official options"]
    other = dataclasses.replace(sources, open_judge=lambda: Judge("another", options))
    assert not wise.score(prompts, FoundImages({}, ()), other).comparable
