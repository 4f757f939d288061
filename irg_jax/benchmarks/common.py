"""Words of known length, random weights, and the time that something takes."""

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from irg_jax.data import setup, tokenizer
from irg_jax.data.layout import Vocabulary
from irg_jax.models.autoencoder import PixelAutoencoder
from irg_jax.models.config import ModelConfig, PixelConfig
from irg_jax.models.flux import FluxAutoencoder


def vocabulary(config: Any, model: ModelConfig) -> Vocabulary:
    """The image transforms of ``config`` beside a tokenizer made here, to which "word" is one token."""
    with tempfile.TemporaryDirectory() as folder, config.unlocked():
        tokenizer.train(["word " * 9] * 9, 270, folder)
        config.data.tokenizer = folder
        return setup.vocabulary(config.data, model)


def autoencoder(model: ModelConfig) -> Any:
    """The frozen autoencoder of a config, with random weights where it has any."""
    if isinstance(model.autoencoder, PixelConfig):
        return PixelAutoencoder(model.autoencoder)
    return FluxAutoencoder(model.autoencoder, rngs=nnx.Rngs(params=0))


def text(tokens: int) -> str:
    """As many tokens as asked for, bos and eos among them."""
    return "word " * (tokens - 3)


def seconds(f: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Of the first call, which compiles, and the median of ``repeats`` others."""
    times = []
    for _ in range(1 + repeats):
        start = time.monotonic()
        jax.block_until_ready(f())
        times.append(time.monotonic() - start)
    return times[0], statistics.median(times[1:])
