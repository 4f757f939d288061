"""Synthetic data: texts of known length, and batches of full rows."""

import dataclasses
import tempfile

import numpy as np

from irg_jax.core.errors import ConfigError
from irg_jax.data import factory, images, tokenizer
from irg_jax.data.config import DataConfig
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.packing import layout
from irg_jax.data.packing.layout import RowBuilder
from irg_jax.data.processor import Processor
from irg_jax.training.config import StageConfig

# Tokens of each text, as long as the published ones are on average.
LENGTHS = {"prompt": 66, "thinking 1": 194, "thinking 2": 258}

# Divisors of the lengths, for budgets that are too small for a whole sample.
_DIVISORS = (1, 2, 4, 8)


def make_batch(config: StageConfig) -> dict:
    """``data.batch_size`` full rows, see ``layout.batch_spec``.

    Raises:
      ConfigError: the budgets of a row are too small even for a sample with an eighth of the text.
    """
    geometry = config.model.geometry
    processor, budgets = make_processor(config), factory.make_budgets(config.data, geometry)
    for divisor in _DIVISORS:
        sample = _sample(config.data, divisor, budgets.moments)
        parts = layout.segments(sample, processor)
        cost = np.sum([part.cost for part in parts], axis=0)
        count = int(np.min(np.array(budgets.cost) // cost))
        if count:
            break
    else:
        raise ConfigError(
            "data.budgets",
            f"a row has no room for a sample, which needs (und, gen, vit, images) {tuple(cost.tolist())}",
        )
    builder = RowBuilder(processor, geometry)
    for _ in range(count):
        builder.add(sample, parts, dropped=0, mode=0)
    return layout.stack([builder.row()] * config.data.batch_size, budgets)


def _sample(data: DataConfig, divisor: int, shape: tuple[int, int, int] | None) -> Conversation:
    """A sample of ``improving_full_learning``."""
    size = data.vae_image.max_size
    png = images.encode_png(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))
    prompt, thinking1, thinking2 = (text(length // divisor) for length in LENGTHS.values())
    moments = None if shape is None else np.zeros(shape, np.float32)
    clean = Image(png, need_vae=True, need_vit=True, moments=moments)
    noised = Image(png, need_loss=True, moments=moments)
    return Conversation(
        "bench", (Text(prompt), Text(thinking1, need_loss=True), clean, Text(thinking2, need_loss=True), noised)
    )


def make_processor(config: StageConfig) -> Processor:
    """A processor with the image transforms of ``config`` and a new tokenizer, for which " word" is one token."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.train(["word " * 9] * 9, 270, folder)
        return factory.make_processor(dataclasses.replace(config.data, tokenizer=folder), config.model.geometry)


def text(tokens: int) -> str:
    """A text of that many tokens, bos and eos included."""
    return "word " * (tokens - 3)
