"""FLOPs of a step, counted by hand."""

import jax
import pytest
from flax import nnx

from irg_jax.models.config import FluxConfig
from irg_jax.models.flux import FluxAutoencoder
from irg_jax.training.flops import encode_flops, train_step_flops
from tests import tiny

NOTHING = dict(und=0, gen=0, vit=0, pairs=0)


def flops(**counts):
    return train_step_flops(tiny.CONFIG, **(NOTHING | counts))


def test_a_text_token_meets_its_expert_and_the_logits():
    q, k, v, o = 16 * 32, 16 * 16, 16 * 16, 32 * 16
    mlp = 3 * 16 * 24
    assert flops(und=1) == 6 * (2 * (q + k + v + o + mlp) + 16 * 512)


def test_a_latent_token_meets_its_expert_and_the_way_in_and_out():
    expert = 2 * (16 * 32 + 2 * 16 * 16 + 32 * 16 + 3 * 16 * 24)
    assert flops(gen=1) == 6 * (expert + 16 * 192 + 192 * 16 + 16 * 16)


def test_a_vit_patch_meets_the_vit_and_the_connector():
    layer = 4 * 16 * 16 + 2 * 16 * 24
    assert flops(vit=1) == 6 * (2 * layer + 192 * 16 + 2 * 16 * 16)


def test_a_visible_pair_costs_a_score_and_a_sum_in_every_head_and_layer():
    forward = 2 * (8 + 8)  # a dot product of 8 and a sum of 8, two FLOPs each
    assert flops(pairs=1) == 3 * forward * 4 * 2


def test_counts_add_up():
    assert flops(und=3, gen=5, vit=7, pairs=11) == pytest.approx(
        3 * flops(und=1) + 5 * flops(gen=1) + 7 * flops(vit=1) + 11 * flops(pairs=1)
    )


def test_encoding_costs_what_the_compiler_counts():
    config = FluxConfig(width=64, multipliers=(1, 2, 2), blocks=2, channels=16, scale=1.0, shift=0.0)
    coder = nnx.eval_shape(lambda: FluxAutoencoder(config, rngs=nnx.Rngs(params=0)))
    pixels = jax.ShapeDtypeStruct((1, 64, 128, 3), "float32")
    counted = jax.jit(lambda coder, x: coder.encode(x)).lower(coder, pixels).cost_analysis()["flops"]
    assert encode_flops(config, (64, 128)) == pytest.approx(counted, rel=0.05)


def test_the_pixel_autoencoder_costs_nothing():
    assert encode_flops(tiny.CONFIG.autoencoder, (32, 32)) == 0
