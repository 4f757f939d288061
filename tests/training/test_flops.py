"""FLOPs of a step, against counts by hand."""

import jax
import pytest
from flax import nnx

from irg_jax.models.config import FluxVAEConfig
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.training.flops import encode_flops, train_step_flops
from tests import tiny

NOTHING = dict(und=0, gen=0, vit=0, pairs=0)


def flops(**counts):
    return train_step_flops(tiny.CONFIG, **(NOTHING | counts))


def test_a_text_token_costs_its_expert_and_the_logits():
    q, k, v, o = 16 * 32, 16 * 16, 16 * 16, 32 * 16
    mlp = 3 * 16 * 24
    assert flops(und=1) == 6 * (2 * (q + k + v + o + mlp) + 16 * 512)


def test_a_latent_token_costs_its_expert_and_the_projections_of_latents():
    expert = 2 * (16 * 32 + 2 * 16 * 16 + 32 * 16 + 3 * 16 * 24)
    assert flops(gen=1) == 6 * (expert + 16 * 192 + 192 * 16 + 16 * 16)


def test_a_vit_patch_costs_the_vit_and_the_connector():
    layer = 4 * 16 * 16 + 2 * 16 * 24
    assert flops(vit=1) == 6 * (2 * layer + 192 * 16 + 2 * 16 * 16)


def test_a_visible_pair_costs_a_score_and_a_weighted_sum_per_head_and_layer():
    forward = 2 * (8 + 8)  # a dot product of 8 and a sum of 8, two FLOPs each
    assert flops(pairs=1) == 3 * forward * 4 * 2


def test_flops_are_linear_in_the_counts():
    assert flops(und=3, gen=5, vit=7, pairs=11) == pytest.approx(
        3 * flops(und=1) + 5 * flops(gen=1) + 7 * flops(vit=1) + 11 * flops(pairs=1)
    )


def test_flops_of_the_vae_encoder_are_those_that_the_compiler_counts():
    config = FluxVAEConfig(width=64, multipliers=(1, 2, 2), blocks=2, channels=16, scale=1.0, shift=0.0)
    vae = nnx.eval_shape(lambda: FluxVAE(config, rngs=nnx.Rngs(params=0)))
    pixels = jax.ShapeDtypeStruct((1, 64, 128, 3), "float32")
    counted = jax.jit(lambda vae, x: vae.encode(x)).lower(vae, pixels).cost_analysis()["flops"]
    assert encode_flops(config, (64, 128)) == pytest.approx(counted, rel=0.05)


def test_the_pixel_vae_has_no_flops():
    assert encode_flops(tiny.CONFIG.vae, (32, 32)) == 0
