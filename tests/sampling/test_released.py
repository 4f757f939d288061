"""Two turns with the tiny BAGEL against the released code: KV caches, thinking, latents, images (two_turn.npz)."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from irg_jax.data.images import ImageTransform
from irg_jax.data.processor import Processor
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.sampling import two_turn
from irg_jax.sampling.cache import FAR
from irg_jax.sampling.config import SamplingConfig
from irg_jax.sampling.guidance import Guidance
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from tests import released

WANTED = released.arrays("two_turn")
SCRIPT = json.loads((released.FOLDER / "two_turn.json").read_text())
THINKING = [[SCRIPT["think1"]], [SCRIPT["think2"]]]
NOISE = [WANTED["init_noise1"][None], WANTED["init_noise2"][None]]

# Bounds, and the errors measured on an x86-64 CPU.
LATENTS = {
    "turn1": 3e-5,  # 3.1e-6
    "turn1_nocfg": 9e-6,  # 1.2e-6
    "turn1_channel": 2e-5,  # 3.2e-6
    "turn2": 7e-5,  # 7.7e-6
    "turn2_global": 7e-5,  # 8.7e-6
}
CACHE = 2e-5  # 3.1e-6
# bfloat16 against float32, for each turn: latents, whose mean magnitude is 1.1, and levels of the 256 of a pixel.
BFLOAT16_MAX = 0.2, 0.45  # 0.063, 0.141
BFLOAT16_MEAN = 0.05, 0.1  # 0.014, 0.029
BFLOAT16_LEVELS = 2.0, 5.0  # 0.68, 1.64

OFF = Guidance(text_scale=1.0, image_scale=1.0, interval=(0.0, 1.0), renorm="global", renorm_min=0.0)


def guidance(name: str) -> Guidance:
    """Released guidance arguments under our names."""
    names = {
        "cfg_text_scale": "text_scale", "cfg_img_scale": "image_scale", "cfg_renorm_type": "renorm",
        "cfg_renorm_min": "renorm_min", "cfg_interval": "interval",
    }  # fmt: skip
    values = {names[key]: value for key, value in SCRIPT["cfg"][name].items()}
    return dataclasses.replace(OFF, **values | {"interval": tuple(values.get("interval", OFF.interval))})


@functools.cache
def sampler(turn1: str, turn2: str, dtype: str = "float32") -> Sampler:
    """A sampler with the released settings; weights and computation have ``dtype``, as of a loaded checkpoint."""
    return Sampler(
        released.graphdef(dtype=dtype),
        jax.tree.map(lambda x: x.astype(dtype), released.weights()),
        vae=released.vae(),
        processor=Processor(
            Tokenizer(released.FOLDER / "bagel"), ImageTransform(128, 32, 16), ImageTransform(140, 56, 14)
        ),
        config=SamplingConfig(
            system_prompt=SCRIPT["system_prompt"],
            image_size=(SCRIPT["height"], SCRIPT["width"]),
            prompt_bucket=8,
            max_prompt=64,
            max_thinking=(64, 64),
            temperature=0.0,
            time_points=SCRIPT["num_timesteps"],
            timestep_shift=SCRIPT["timestep_shift"],
            turn1=guidance(turn1),
            turn2=guidance(turn2),
        ),
        origin=Origin("bagel_tiny", 0),
        mesh=make_mesh(MeshConfig(), jax.devices()[:1]),
    )


@functools.cache
def turns(turn1: str = "turn1", turn2: str = "turn2", dtype: str = "float32"):
    return sampler(turn1, turn2, dtype)([SCRIPT["prompt"]], thinking=THINKING, noise=NOISE)[0].turns


@pytest.mark.parametrize("name", ["turn1", "turn1_nocfg", "turn1_channel"])
def test_latents_of_turn_1_under_its_guidance(name):
    expected = WANTED["latent_turn1" + name.removeprefix("turn1")]
    np.testing.assert_allclose(turns(turn1=name)[0].latents, expected, rtol=0, atol=LATENTS[name])


@pytest.mark.parametrize("name", ["turn2", "turn2_global"])
def test_latents_of_turn_2_under_its_guidance(name):
    expected = WANTED["latent_turn2" + name.removeprefix("turn2")]
    np.testing.assert_allclose(turns(turn2=name)[1].latents, expected, rtol=0, atol=LATENTS[name])


@pytest.mark.parametrize("turn", [0, 1])
def test_images_are_the_released_ones_in_every_value(turn):
    np.testing.assert_array_equal(turns()[turn].image, WANTED[f"image_turn{turn + 1}"])


@pytest.mark.parametrize("turn", [0, 1])
def test_both_turns_in_bfloat16_are_close_to_float32(turn):
    exact, half = turns()[turn], turns(dtype="bfloat16")[turn]
    assert half.thinking == exact.thinking
    error = np.abs(half.latents - exact.latents)
    levels = np.abs(half.image.astype(int) - exact.image)
    assert np.isfinite(half.latents).all()
    for found, bound in ((error.max(), BFLOAT16_MAX), (error.mean(), BFLOAT16_MEAN), (levels.mean(), BFLOAT16_LEVELS)):
        assert 0 < found < bound[turn]


# --- thinking and KV cache, from the compiled programs


@functools.cache
def programs(given: bool):
    """Thinking 1 and 2 and the caches after both turns, with the released thinking given or decoded greedily."""
    s = sampler("turn1", "turn2")
    prompts, keys = s._tokenize_prompts([SCRIPT["prompt"]]), jax.vmap(jax.random.key)(jnp.zeros(1, jnp.uint32))
    fixed = [s._tokenize(t, 64, "", 64) if given else None for t in THINKING]
    first = s._tokenize(THINKING[0], 64, "", 64)  # the released greedy thinking 2 follows the fixed thinking 1
    spec, weights = s._spec, s.weights
    thinking1, _, rope, cache = two_turn.first_turn(spec, weights, prompts, fixed[0], NOISE[0], keys)
    cache1 = jax.tree.map(np.asarray, cache)
    if not given:
        _, _, rope, cache = two_turn.first_turn(spec, weights, prompts, first, NOISE[0], keys)
    image = WANTED["image_turn1"][None]
    thinking2, _, cache = two_turn.second_turn(
        spec, weights, cache, rope, image, fixed[1], NOISE[1], keys, prompt_size=prompts.ids.shape[1]
    )
    return thinking1, thinking2, cache1, jax.tree.map(np.asarray, cache)


@pytest.mark.parametrize("turn", [1, 2])
def test_greedy_thinking_has_the_released_ids(turn):
    expected = WANTED[f"think{turn}_ids"]
    np.testing.assert_array_equal(programs(given=False)[turn - 1].ids[0, : len(expected)], expected)


def test_the_kv_cache_after_turn_1_matches_the_released_one():
    cache = programs(given=True)[2]
    seen = cache.start[0] < FAR
    np.testing.assert_allclose(cache.k[:, 0, seen], WANTED["key_cache_turn1"], rtol=0, atol=CACHE)
    np.testing.assert_allclose(cache.v[:, 0, seen], WANTED["value_cache_turn1"], rtol=0, atol=CACHE)


def test_the_kv_cache_after_turn_2_matches_the_released_one():
    cache = programs(given=True)[3]
    seen = (cache.start[0] < FAR) & (cache.end[0] == FAR)  # without the copy of thinking 2, which only one branch sees
    k = cache.k[:, 0, seen]
    # An image block is cached as vision_start, vision_end, patches.
    order, blocks = list(range(144)), [(144, 16 + 2), (162, 25 + 2)]
    for start, size in blocks:
        order += [start, *range(start + 2, start + size), start + 1]
    order += range(189, 216)
    np.testing.assert_allclose(k[:, order], WANTED["key_cache_turn2"], rtol=0, atol=CACHE)
