"""The ``data`` section of a config: invalid values are refused by their key before any file is opened."""

import pytest

from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError
from irg_jax.data.config import DataConfig

WORLD = {"seed": 0, "train": 40, "held_out": 6, "vocab": 320}
SHAPES = {"format": "irgl", "dir": "data/shapes", "world": WORLD}
VALUES = {
    "sources": {"shapes": SHAPES, "more": {"format": "published", "dir": "data/more"}},
    "tokenizer": "data/tokenizer",
    "seed": 0,
    "mixture": (("shapes", "initial_full_learning", 1.0, True), ("more", "improving_full_learning", 0.5, False)),
    "initial_target": "draft",
    "thinking1": "plan",
    "dropout": {"text": 0.0, "vit": 0.1, "vae": 0.3},
    "batch_size": 4,
    "rows_per_pack": 2,
    "budgets": {"und": 320, "gen": 192, "vit": 64, "images": 3},
    "max_sample_tokens": 300,
    "vae_image": {"max_size": 32, "min_size": 32},
    "vit_image": {"max_size": 32, "min_size": 32},
    "on_error": "stop",
    "resize": "exact",
    "workers": 0,
    "threads": 1,
    "buffer_gb": 1.0,
}


def data_config(**changes):
    return dataclass_from_mapping(DataConfig, VALUES | changes, "data")


def test_a_mixture_of_data_sets_in_several_formats_is_accepted():
    config = data_config()
    assert [entry.mode for entry in config.mixture] == ["initial_full_learning", "improving_full_learning"]
    assert config.sources["shapes"].world.train == 40
    assert config.sources["more"].world is None  # it is never built


def test_the_same_mode_of_two_data_sets_and_a_mode_with_a_name_of_its_own_are_accepted():
    data_config(mixture=tuple((source, "improving_full_learning", 1.0, True) for source in ("shapes", "more")))
    images = {"images": {"format": "text_to_image", "dir": "data/images"}}
    config = data_config(sources=images, mixture=(("images", "captions", 1.0, False),))
    assert config.mixture[0].mode == "captions"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mixture": (("shapes", "initial_ful_learning", 1.0, True),)},
            "config.data.mixture: unknown learning mode 'initial_ful_learning'; did you mean initial_full_learning"
            ".*known modes are initial_thinking_understanding_learning, ",
        ),
        (
            {"mixture": (("shape", "initial_full_learning", 1.0, True),)},
            "config.data.mixture: initial_full_learning is of the unknown source 'shape'; did you mean shapes",
        ),
        (
            {"mixture": 2 * (("shapes", "improving_full_learning", 1.0, True),)},
            "config.data.mixture: improving_full_learning is listed twice; add up its weights",
        ),
        (
            {"mixture": (("improving_full_learning", 1.0, True),)},
            r"config.data.mixture: .*must be \(source, mode, weight, mandatory\)",
        ),
        *(
            (
                {"mixture": (("shapes", "improving_full_learning", weight, True),)},
                "config.data.mixture: the weight of improving_full_learning is .*; it must be finite and > 0",
            )
            for weight in (0, -1.0, float("nan"), float("inf"))
        ),
        ({"mixture": ()}, "config.data.mixture: no learning mode is listed; list at least one"),
        ({"sources": {}}, "config.data.sources: no data set is listed; list at least one"),
        (
            {"sources": {"shapes": SHAPES | {"format": "parquet"}}},
            "config.data.sources.shapes.format: 'parquet' is not one of irgl, published",
        ),
        (
            {"sources": {"shapes": SHAPES | {"format": "published"}}},
            "config.data.sources.shapes.world: format published is never built; set it to None",
        ),
        ({"initial_target": "best"}, "config.data.initial_target: 'best' is not one of draft, good"),
        ({"thinking1": "short"}, "config.data.thinking1: 'short' is not one of plan, none"),
        ({"initial_target": None}, "config.data.initial_target: format irgl needs it, but it is None"),
        ({"thinking1": None}, "config.data.thinking1: format irgl needs it, but it is None"),
        ({"on_error": "skip"}, "config.data.on_error: 'skip' is not one of stop, replace"),
        ({"batch_size": 0}, "config.data.batch_size: 0 must be at least 1"),
        ({"rows_per_pack": 0}, "config.data.rows_per_pack: 0 must be at least 1"),
        ({"threads": 0}, "config.data.threads: 0 must be at least 1"),
        ({"workers": -1}, "config.data.workers: -1 must be at least 0"),
        ({"buffer_gb": 0.0}, "config.data.buffer_gb: 0.0 must be above 0"),
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
