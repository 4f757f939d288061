"""Two turns with the tiny BAGEL: caches, greedy thoughts, latents under every guidance, pictures (two_turn.npz)."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from irg_jax.data.images import ImageTransform
from irg_jax.data.layout import Vocabulary
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.sampling import reasoning
from irg_jax.sampling.cache import FAR
from irg_jax.sampling.guidance import Guidance
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sampling.settings import Sampling
from irg_jax.training.state import graph_of
from tests import released

WANTED = released.arrays("two_turn")
SCRIPT = json.loads((released.FOLDER / "two_turn.json").read_text())
THOUGHTS = [[SCRIPT["think1"]], [SCRIPT["think2"]]]
NOISE = [WANTED["init_noise1"][None], WANTED["init_noise2"][None]]
OFF = Guidance(text_scale=1.0, image_scale=1.0, interval=(0.0, 1.0), renorm="global", renorm_min=0.0)


def guidance(name: str) -> Guidance:
    """One of the released settings, in our words."""
    names = {
        "cfg_text_scale": "text_scale", "cfg_img_scale": "image_scale", "cfg_renorm_type": "renorm",
        "cfg_renorm_min": "renorm_min", "cfg_interval": "interval",
    }  # fmt: skip
    values = {names[key]: value for key, value in SCRIPT["cfg"][name].items()}
    return dataclasses.replace(OFF, **values | {"interval": tuple(values.get("interval", OFF.interval))})


@functools.cache
def sampler(turn1: str, turn2: str) -> Sampler:
    config = released.config()
    return Sampler(
        graph_of(config)[0],
        released.weights(),
        autoencoder=released.autoencoder(),
        vocabulary=Vocabulary(
            Tokenizer(released.FOLDER / "bagel"), ImageTransform(128, 32, 16), ImageTransform(140, 56, 14)
        ),
        settings=Sampling(
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
    )


@functools.cache
def turns(turn1: str = "turn1", turn2: str = "turn2"):
    return sampler(turn1, turn2)([SCRIPT["prompt"]], thoughts=THOUGHTS, noise=NOISE)[0].turns


@pytest.mark.parametrize("name", ["turn1", "turn1_nocfg", "turn1_channel"])
def test_latents_of_turn_1_under_its_guidance(name):
    wanted = WANTED["latent_turn1" + name.removeprefix("turn1")]
    np.testing.assert_allclose(turns(turn1=name)[0].latents, wanted, atol=1e-3)


@pytest.mark.parametrize("name", ["turn2", "turn2_global"])
def test_latents_of_turn_2_under_its_guidance(name):
    wanted = WANTED["latent_turn2" + name.removeprefix("turn2")]
    np.testing.assert_allclose(turns(turn2=name)[1].latents, wanted, atol=1e-3)


@pytest.mark.parametrize("turn", [0, 1])
def test_pictures_are_the_released_ones(turn):
    levels = np.abs(turns()[turn].image.astype(int) - WANTED[f"image_turn{turn + 1}"])
    assert levels.max() <= 1
    assert (levels > 0).mean() < 0.01  # quantised alike


# --- thoughts and caches, from the programs themselves


@functools.cache
def programs(given: bool):
    """Both halves, with the released thoughts in the context or with greedy ones: thoughts and caches."""
    s = sampler("turn1", "turn2")
    texts, keys = s._prompts([SCRIPT["prompt"]]), jax.vmap(jax.random.key)(jnp.zeros(1, jnp.uint32))
    fixed = [s._texts(t, 64, "", 64) if given else None for t in THOUGHTS]
    first = s._texts(THOUGHTS[0], 64, "", 64)  # greedy thinking 2 is released behind the fixed thinking 1
    setting, weights = s._setting, s.weights
    thought1, _, rope, past = reasoning.first_turn(setting, weights, texts, fixed[0], NOISE[0], keys)
    cache1 = jax.tree.map(np.asarray, past)
    if not given:
        _, _, rope, past = reasoning.first_turn(setting, weights, texts, first, NOISE[0], keys)
    image = WANTED["image_turn1"][None]
    patches = s._vit_patches(PIL.Image.fromarray(image[0]))[0][None]
    thought2, _, past = reasoning.second_turn(
        setting, texts.ids.shape[1], weights, past, rope, image, patches, fixed[1], NOISE[1], keys
    )
    return thought1, thought2, cache1, jax.tree.map(np.asarray, past)


@pytest.mark.parametrize("turn", [1, 2])
def test_greedy_thoughts_have_the_released_ids(turn):
    wanted = WANTED[f"think{turn}_ids"]
    np.testing.assert_array_equal(programs(given=False)[turn - 1].ids[0, : len(wanted)], wanted)


def test_the_cache_after_turn_1_is_the_released_one():
    past = programs(given=True)[2]
    seen = past.start[0] < FAR
    np.testing.assert_allclose(past.k[:, 0, seen], WANTED["key_cache_turn1"], atol=2e-4)
    np.testing.assert_allclose(past.v[:, 0, seen], WANTED["value_cache_turn1"], atol=2e-4)


def test_the_cache_after_turn_2_is_the_released_one():
    past = programs(given=True)[3]
    seen = (past.start[0] < FAR) & (past.end[0] == FAR)  # without the copy of thinking 2 that one branch sees
    k = past.k[:, 0, seen]
    # An image block is cached as vision_start, vision_end, patches.
    order, blocks = list(range(144)), [(144, 16 + 2), (162, 25 + 2)]
    for start, size in blocks:
        order += [start, *range(start + 2, start + size), start + 1]
    order += range(189, 216)
    np.testing.assert_allclose(k[:, order], WANTED["key_cache_turn2"], atol=2e-4)
