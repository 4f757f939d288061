"""Two turns for one prompt of ``sampling.max_prompt`` tokens, with thoughts as long as ``sampling.max_thinking``."""

import dataclasses
from typing import Any

from flax import nnx

from irg_jax.benchmarks.common import autoencoder, seconds, text, vocabulary
from irg_jax.models.config import ModelConfig
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sampling.settings import Sampling
from irg_jax.training.state import count_weights


def generate(config: Any, model: ModelConfig, repeats: int) -> dict[str, Any]:
    """Seconds of each part of two turns. A thought's are what writing it costs beyond reading one of its length."""
    sampling = Sampling.from_mapping(config.sampling)
    prompt, thoughts = text(sampling.max_prompt), [[text(size)] for size in sampling.max_thinking]

    def measure(sampler: Sampler, **kwargs: Any) -> tuple[float, float]:
        return seconds(lambda: sampler([prompt], **kwargs), repeats)

    sampler = _random_sampler(config, model, sampling)
    first, both = measure(sampler)
    _, turn1 = measure(sampler, turns=1)
    # One Euler step each: what is left is thinking, which the painting would drown.
    brief = _random_sampler(config, model, dataclasses.replace(sampling, time_points=2))
    thinking1 = measure(brief, turns=1)[1] - measure(brief, turns=1, thoughts=thoughts[:1])[1]
    thinking2 = measure(brief)[1] - measure(brief, thoughts=thoughts)[1] - thinking1
    return {
        "weights": count_weights(sampler.weights.params),
        "first call, compiling": first,
        "thinking 1": thinking1,
        "image 1": turn1 - thinking1,
        "thinking 2": thinking2,
        "looking and image 2": both - turn1 - thinking2,
        "two turns": both,
    }


def _random_sampler(config: Any, model: ModelConfig, sampling: Sampling) -> Sampler:
    graphdef, params = nnx.split(UnifiedTransformer(model, rngs=nnx.Rngs(params=0)), nnx.Param)
    frozen, words, origin = autoencoder(model), vocabulary(config, model), Origin("random", 0)
    return Sampler(graphdef, params, autoencoder=frozen, vocabulary=words, settings=sampling, origin=origin)
