"""Two turns for one prompt of ``sampling.max_prompt`` tokens, with thinking of ``sampling.max_thinking`` tokens."""

import dataclasses
from typing import Any

import jax
from flax import nnx

from irg_jax.core.tree import count_weights
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.models.vae.factory import make_vae
from irg_jax.perf.synthetic import make_processor, text
from irg_jax.perf.timing import seconds
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.training.config import StageConfig


def generate(config: StageConfig, repeats: int) -> dict[str, Any]:
    """Seconds of each part of two turns. Those of thinking are what decoding costs beyond prefilling as many tokens."""
    sampling = config.sampling
    prompt, thinking = text(sampling.max_prompt), [[text(size)] for size in sampling.max_thinking]

    def measure(sampler: Sampler, **kwargs: Any) -> tuple[float, float]:
        return seconds(lambda: sampler([prompt], **kwargs), repeats)

    sampler = _random_sampler(config, sampling)
    first_call, two_turns = measure(sampler)
    _, turn1 = measure(sampler, turns=1)
    # One Euler step per image: many would take so long that the difference, the decoding, would be lost in noise.
    brief = _random_sampler(config, dataclasses.replace(sampling, time_points=2))
    thinking1 = measure(brief, turns=1)[1] - measure(brief, turns=1, thinking=thinking[:1])[1]
    thinking2 = measure(brief)[1] - measure(brief, thinking=thinking)[1] - thinking1
    return {
        "weights": count_weights(sampler.weights.params),
        "first call, compiling": first_call,
        "thinking 1": thinking1,
        "image 1": turn1 - thinking1,
        "thinking 2": thinking2,
        "prefill of image 1, image 2": two_turns - turn1 - thinking2,
        "two turns": two_turns,
    }


def _random_sampler(config: StageConfig, sampling: SamplingConfig) -> Sampler:
    execution = config.execution.on(jax.default_backend())
    graphdef, params = nnx.split(UnifiedTransformer(config.model, execution, rngs=nnx.Rngs(params=0)), nnx.Param)
    return Sampler(
        graphdef,
        params,
        vae=make_vae(config.model.vae, rngs=nnx.Rngs(params=0)),
        processor=make_processor(config),
        config=sampling,
        origin=Origin("random", 0),
        mesh=make_mesh(MeshConfig(), jax.devices()[:1]),
    )
