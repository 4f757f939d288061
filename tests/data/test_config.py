"""The ``data`` section of a config: invalid values are refused by their key before any file is opened."""

import pytest

from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError
from irg_jax.data.config import DataConfig

VALUES = {
    "format": "shapes",
    "dir": "data/shapes",
    "tokenizer": "data/tokenizer",
    "world": {"seed": 0, "train": 40, "held_out": 6, "vocab": 320},
    "seed": 0,
    "mixture": (("initial_full_learning", 1.0, True), ("improving_full_learning", 0.5, False)),
    "initial_target": "draft",
    "thinking1": "plan",
    "dropout": {"text": 0.0, "vit": 0.1, "vae": 0.3},
    "batch_size": 4,
    "rows_per_pack": 2,
    "budgets": {"und": 320, "gen": 192, "vit": 64, "images": 3},
    "max_sample_tokens": 300,
    "vae_image": {"max_size": 32, "min_size": 32},
    "vit_image": {"max_size": 32, "min_size": 32},
    "threads": 1,
}
IRGL = {"format": "irgl", "world": None, "initial_target": None, "thinking1": None}


def data_config(**changes):
    return dataclass_from_mapping(DataConfig, VALUES | changes, "data")


def test_valid_sections_of_both_formats_are_accepted():
    config = data_config()
    assert [entry.mode for entry in config.mixture] == ["initial_full_learning", "improving_full_learning"]
    assert data_config(world=None).world is None  # the data set is there already
    assert data_config(**IRGL).format == "irgl"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mixture": (("initial_ful_learning", 1.0, True),)},
            "config.data.mixture: unknown learning mode 'initial_ful_learning'; did you mean initial_full_learning"
            ".*known modes are initial_thinking_understanding_learning, ",
        ),
        (
            {"mixture": (("improving_full_learning", 1.0, True), ("improving_full_learning", 0.5, True))},
            "config.data.mixture: improving_full_learning is listed twice; add up its weights",
        ),
        (
            {"mixture": (("improving_full_learning", 1.0),)},
            r"config.data.mixture: .*must be \(mode, weight, mandatory\)",
        ),
        *(
            (
                {"mixture": (("improving_full_learning", weight, True),)},
                "config.data.mixture: the weight of improving_full_learning is .*; it must be finite and > 0",
            )
            for weight in (0, -1.0, float("nan"), float("inf"))
        ),
        ({"mixture": ()}, "config.data.mixture: no learning mode is listed; list at least one"),
        ({"format": "parquet"}, "config.data.format: 'parquet' is not one of shapes, irgl"),
        ({"initial_target": "best"}, "config.data.initial_target: 'best' is not one of draft, good"),
        ({"thinking1": "short"}, "config.data.thinking1: 'short' is not one of plan, none"),
        ({"initial_target": None}, "config.data.initial_target: format shapes needs it, but it is None"),
        ({"thinking1": None}, "config.data.thinking1: format shapes needs it, but it is None"),
        (IRGL | {"world": VALUES["world"]}, "config.data.world: only format shapes takes it; set it to None"),
        (IRGL | {"initial_target": "good"}, "config.data.initial_target: only format shapes takes it"),
        (IRGL | {"thinking1": "plan"}, "config.data.thinking1: only format shapes takes it"),
        ({"batch_size": 0}, "config.data.batch_size: 0 must be at least 1"),
        ({"rows_per_pack": 0}, "config.data.rows_per_pack: 0 must be at least 1"),
        ({"threads": 0}, "config.data.threads: 0 must be at least 1"),
        ({"budgets": VALUES["budgets"] | {"tokens": 1}}, "config.data.budgets.tokens: unknown key"),
    ],
)
def test_an_invalid_value_is_refused_by_its_key(changes, message):
    with pytest.raises(ConfigError, match=f"^{message}"):
        data_config(**changes)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
@pytest.mark.parametrize("condition", ["text", "vit", "vae"])
def test_a_dropout_that_is_not_a_probability_is_refused(condition, rate):
    with pytest.raises(ConfigError, match=f"config.data.dropout.{condition}: .* from 0 to 1"):
        data_config(dropout={condition: rate})
