"""From the ``data`` section to packed rows, on the toy data set in the published layout."""

import dataclasses

import numpy as np
import pytest

from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.data import factory, modes
from irg_jax.data.config import BudgetConfig, DataConfig, DropoutConfig, ImageSizeConfig, MixtureEntry, SourceConfig
from irg_jax.data.packing.layout import Budgets
from tests import tiny

CONFIG = DataConfig(
    sources={"toy": SourceConfig("published", str(tiny.BAGEL_TINY.parent / "toy_dataset"))},
    tokenizer=str(tiny.BAGEL_TINY / "bagel"),
    seed=0,
    mixture=tuple(MixtureEntry("toy", mode, 1.0, False) for mode in modes.MODES),
    initial_target=None,
    thinking1=None,
    dropout=DropoutConfig(vae=0.3),
    batch_size=2,
    rows_per_pack=1,
    budgets=BudgetConfig(und=1500, gen=64, vit=64, images=4),
    max_sample_tokens=1000,
    vae_image=ImageSizeConfig(max_size=32, min_size=16),
    vit_image=ImageSizeConfig(max_size=32, min_size=16),
    on_error="stop",
    resize="exact",
    workers=0,
    threads=1,
    buffer_gb=0.1,
)
GEOMETRY = tiny.CONFIG.geometry


def test_the_processor_has_the_strides_of_the_model():
    processor = factory.make_processor(CONFIG, GEOMETRY)
    assert processor.tokenizer.size == 505
    assert (processor.vae_transform.stride, processor.vit_transform.stride) == (8, 8)
    assert processor.vae_transform.size(640, 320) == (32, 16)


def test_a_tokenizer_with_more_ids_than_embeddings_is_refused():
    with pytest.raises(ConfigError, match="config.model.decoder.vocab: 504 rows, but .*bagel has 505 ids; raise it"):
        factory.make_processor(CONFIG, dataclasses.replace(GEOMETRY, vocab=504))


@pytest.mark.parametrize("name", ["vae_image", "vit_image"])
@pytest.mark.parametrize("max_size", [36, 40])  # not a multiple of the stride; beyond the table of 4 x 4 positions
def test_an_image_size_that_does_not_fit_the_position_table_is_refused(name, max_size):
    config = dataclasses.replace(CONFIG, **{name: ImageSizeConfig(max_size=max_size, min_size=16)})
    with pytest.raises(ConfigError, match=f"config.data.{name}.max_size: {max_size} must be a multiple of 8 .*most 32"):
        factory.make_processor(config, GEOMETRY)


def test_the_budgets_include_the_sizes_of_the_largest_image_and_of_a_vit_patch():
    budgets = factory.make_budgets(CONFIG, GEOMETRY)
    assert budgets == Budgets(und=1500, gen=64, vit=64, images=4, image_size=(32, 32), vit_patch=192)


def test_packed_rows_read_every_mode_of_the_mixture():
    rows = factory.make_packed_rows(CONFIG, GEOMETRY)
    assert rows.modes == list(modes.MODES)
    assert not rows.oversize
    assert {key.partition(":")[0] for i in range(40) for key in rows.keys(i)} == set(modes.MODES)
    again = factory.make_packed_rows(CONFIG, GEOMETRY)
    np.testing.assert_array_equal(rows[39].und["ids"], again[39].und["ids"])


def test_a_missing_data_set_is_named():
    with pytest.raises(UserError, match="/nowhere/.*: no .*parquet files"):
        factory.make_packed_rows(replaced(CONFIG, {"sources.toy.dir": "/nowhere"}), GEOMETRY)
