"""The config of a stage: what it refuses, by the full key."""

import re

import pytest

from irg_jax.core.config.files import load
from irg_jax.core.errors import ConfigError
from irg_jax.training.config import StageConfig, parse_stage


def stage(changes):
    """A shipped config with other values at dotted keys."""
    config = load("shapes_stage1")
    with config.unlocked():
        for key, value in changes.items():
            *sections, name = key.split(".")
            section = config
            for inner in sections:
                section = section[inner]
            # Assignment alone would refuse another type before the typed config sees it.
            del section[name]
            section[name] = value
    return config


def test_a_shipped_config_is_a_typed_stage():
    found = parse_stage(stage({"optim.freeze": (("^vit", 0), ("norm", 5))}))
    assert isinstance(found, StageConfig)
    assert [tuple(entry) for entry in found.optim.freeze] == [("^vit", 0), ("norm", 5)]
    assert found.optim.freeze[1].regex == "norm" and found.optim.freeze[1].step == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.schedule": "linear"}, "config.optim.schedule: 'linear' is not one of constant, cosine"),
        (
            {"optim.warmup_steps": 10, "steps": 10},
            "config.optim.warmup_steps: 10 must be at least 0 and less than the 10 steps",
        ),
        (
            {"optim.warmup_steps": 750},
            "config.optim.warmup_steps: 750 must be at least 0 and less than the 750 steps",
        ),
        ({"optim.warmup_steps": -1}, "config.optim.warmup_steps: -1 must be at least 0"),
        ({"optim.lr": 0.0, "optim.schedule": "cosine"}, "config.optim.lr: 0.0 must be > 0"),
        ({"optim.lr": float("nan")}, "config.optim.lr: nan must be > 0"),
        ({"optim.accumulate": 0}, "config.optim.accumulate: 0 must be at least 1"),
        ({"optim.ema_decay": 1.0}, "config.optim.ema_decay: 1.0 must be at least 0 and below 1"),
        (
            {"optim.moments_dtype": "float16"},
            "config.optim.moments_dtype: 'float16' is not one of float32, bfloat16",
        ),
        ({"optim.ema_dtype": "float16"}, "config.optim.ema_dtype: 'float16' is not one of float32, bfloat16"),
        ({"optim.freeze": (("vit(", 0),)}, "config.optim.freeze: 'vit(' is not a regular expression"),
        ({"optim.freeze": (("vit",),)}, "config.optim.freeze: ('vit',) must be (regex, step)"),
        ({"optim.freeze": ("vit",)}, "config.optim.freeze: 'vit' is not a tuple"),
        ({"optim.freeze": (("vit", -1),)}, "config.optim.freeze: ('vit', -1) must be (regex, step)"),
        ({"checkpoint.every": 0}, "config.checkpoint.every: 0 must be at least 1"),
        ({"checkpoint.keep": 0}, "config.checkpoint.keep: 0 must be at least 1"),
        ({"log.every": 0}, "config.log.every: 0 must be at least 1"),
        (
            {"lora": dict(rank=2, alpha=1.0, weights="q"), "init_from": ""},
            "config.init_from: lora trains beside given weights; name the run or converted folder that holds them",
        ),
    ],
)
def test_an_impossible_value_is_refused_by_its_key(changes, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        parse_stage(stage(changes))


def test_a_config_of_several_stages_is_refused_where_one_is_needed():
    with pytest.raises(ConfigError, match="^config.stages: this command takes one stage; .* stage1 or stage2$"):
        parse_stage(load("shapes_quickstart"))
