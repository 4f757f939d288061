"""Measures a config with random weights: ``python -m irg_jax.bench generate --config configs/midsize.py``.

``generate`` samples two turns for one prompt of ``sampling.max_prompt`` tokens and thoughts as long as
``sampling.max_thinking``, and prints the seconds of each part once everything is compiled.
"""

import dataclasses
import functools
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags
from flax import nnx

from irg_jax import config as configs
from irg_jax.bagel import companions
from irg_jax.data import setup, tokenizer
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig, PixelConfig
from irg_jax.models.flux import FluxAutoencoder
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sampling.settings import Sampling
from irg_jax.training.state import count_weights

_REPEATS = flags.DEFINE_integer("repeats", 3, "measured runs, after one that compiles", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "a file for the figures")


def main(config: Any, what: str) -> None:
    """Measures ``what`` and prints it."""
    configs.log_plainly()
    if what not in BENCHMARKS:
        raise UserError(f"irg_jax.bench: {what!r} is none of {', '.join(BENCHMARKS)}")
    figures = BENCHMARKS[what](configs.resolve(config, Path.cwd()))
    device = jax.devices()[0]
    figures |= {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
    for name, value in figures.items():
        logging.info("%-28s %s", name, f"{value:.3f}" if isinstance(value, float) else value)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def generate(config: Any) -> dict[str, Any]:
    """Seconds of each part of two turns. A thought's are what writing it costs beyond reading one of its length."""
    model, sampling = (
        ModelConfig.from_mapping(config.model).on(jax.default_backend()),
        Sampling.from_mapping(config.sampling),
    )
    prompt, thoughts = _text(sampling.max_prompt), [[_text(size)] for size in sampling.max_thinking]

    def seconds(sampler: Sampler, **kwargs: Any) -> tuple[float, float]:
        """Of the first call, which compiles, and the median of the others."""
        times = [_seconds(lambda: sampler([prompt], **kwargs)) for _ in range(1 + _REPEATS.value)]
        return times[0], statistics.median(times[1:])

    sampler = _random_sampler(config, model, sampling)
    first, both = seconds(sampler)
    _, turn1 = seconds(sampler, turns=1)
    # One Euler step each: what is left is thinking, which the painting would drown.
    brief = _random_sampler(config, model, dataclasses.replace(sampling, time_points=2))
    thinking1 = seconds(brief, turns=1)[1] - seconds(brief, turns=1, thoughts=thoughts[:1])[1]
    thinking2 = seconds(brief)[1] - seconds(brief, thoughts=thoughts)[1] - thinking1
    return {
        "weights": count_weights(sampler.weights.params),
        "first call, compiling": first,
        "thinking 1": thinking1,
        "image 1": turn1 - thinking1,
        "thinking 2": thinking2,
        "looking and image 2": both - turn1 - thinking2,
        "two turns": both,
    }


BENCHMARKS: dict[str, Callable[[Any], dict[str, Any]]] = {"generate": generate}


def _random_sampler(config: Any, model: ModelConfig, sampling: Sampling) -> Sampler:
    graphdef, params = nnx.split(UnifiedTransformer(model, rngs=nnx.Rngs(params=0)), nnx.Param)
    coder: Any
    if isinstance(model.autoencoder, PixelConfig):
        coder = companions.open_autoencoder(model.autoencoder, Path())
    else:
        coder = FluxAutoencoder(model.autoencoder, rngs=nnx.Rngs(params=0))
    with tempfile.TemporaryDirectory() as folder, config.unlocked():
        tokenizer.train(["word " * 9] * 9, 270, folder)
        config.data.tokenizer = folder
        vocabulary = setup.vocabulary(config.data, model)
    return Sampler(
        graphdef, params, autoencoder=coder, vocabulary=vocabulary, settings=sampling, origin=Origin("random", 0)
    )


def _text(tokens: int) -> str:
    """As many tokens as asked for, bos and eos among them."""
    return "word " * (tokens - 3)


def _seconds(f: Callable[[], Any]) -> float:
    start = time.monotonic()
    f()  # gives arrays of the host, so it has finished
    return time.monotonic() - start


if __name__ == "__main__":
    # The word behind the command is not a flag.
    configs.run(functools.partial(main, what=sys.argv.pop(1) if len(sys.argv) > 1 else ""))
