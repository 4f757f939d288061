"""FLOPs of a step, counted by hand."""

import pytest

from irg_jax.training.flops import train_step_flops
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
