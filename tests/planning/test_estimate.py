"""The roofline: what is moved, what is computed, what limits."""

import dataclasses

import pytest

from irg_jax.planning import hardware
from irg_jax.planning.estimate import Load, estimate, kept_bytes, temporary_bytes
from tests import tiny

LOAD = Load(rows=8, und=8e4, gen=8e4, vit=4e4, pairs=1e9, pictures=12, picture_flops=0.0)
ONE = dict(data=1, fsdp=1, context=1, tensor=1)
WEIGHTS = 1e9


def of(axes, topology="v5p:2x2x2", slices=1, load=LOAD, **changes):
    return estimate(tiny.config(**changes), WEIGHTS, ONE | axes, hardware.parse(topology, slices), load, 12)


def test_one_device_talks_to_nobody():
    found = of({})
    assert not any(found.traffic.values())
    assert found.seconds["links"] == found.seconds["network"] == 0


def test_each_axis_has_its_own_traffic():
    weights, scattered, reduced, keys, activations = of({}).traffic
    assert {name for name, value in of(dict(fsdp=4)).traffic.items() if value} == {weights, scattered}
    assert {name for name, value in of(dict(context=4)).traffic.items() if value} == {weights, scattered, keys}
    assert {name for name, value in of(dict(data=4)).traffic.items() if value} == {reduced}
    assert {name for name, value in of(dict(tensor=4)).traffic.items() if value} == {activations}
    # Two passes in the compute type, and all but this chip's own part.
    assert of(dict(fsdp=4)).traffic[weights] == pytest.approx(2 * 4 * WEIGHTS * 3 / 4)
    assert of(dict(fsdp=4), remat="full").traffic[weights] == pytest.approx(3 * 4 * WEIGHTS * 3 / 4)


def test_running_the_forward_pass_again_costs_a_third_more():
    plain, again = of(dict(fsdp=8)), of(dict(fsdp=8), remat="full")
    assert again.seconds["compute"] == pytest.approx(4 / 3 * plain.seconds["compute"])
    assert again.model_flops == plain.model_flops


@pytest.mark.parametrize(
    ("axes", "turns"), [(dict(fsdp=8), 12), (dict(fsdp=2, context=4), 4 * 3), (dict(context=8), 8 * 2)]
)
def test_a_rows_pictures_are_shared_by_its_chips(axes, turns):
    load = dataclasses.replace(LOAD, picture_flops=1e12)
    more = of(axes, load=load).seconds["compute"] - of(axes).seconds["compute"]
    assert more * 459e12 == pytest.approx(turns * 1e12)


def test_between_slices_gradients_go_over_the_network():
    inside, across = of(dict(data=2, fsdp=8)), of(dict(data=2, fsdp=8), slices=2)
    assert inside.seconds["network"] == 0 < across.seconds["network"]
    assert across.bound == "network"


def test_the_longest_limits():
    found = of(dict(fsdp=8))
    assert found.step_seconds == found.seconds[found.bound] == max(found.seconds.values())
    assert found.mfu == pytest.approx(found.model_flops / 8 / 459e12 / found.step_seconds)
    assert 0 < found.mfu < 1


def test_what_is_kept_falls_from_policy_to_policy():
    model = dataclasses.replace(tiny.CONFIG, logits_chunk=1)
    kept = [
        kept_bytes(dataclasses.replace(model, remat=name), 1, 4096) for name in ("none", "dots", "attention", "full")
    ]
    assert kept == sorted(kept, reverse=True) and len(set(kept)) == 4
    assert kept_bytes(dataclasses.replace(model, remat="offload"), 1, 4096) < kept[-1]


def test_more_chips_leave_less_to_each_until_what_is_whole_everywhere():
    mesh = [ONE | dict(fsdp=8, context=context) for context in (1, 8, 64)]
    sizes = [temporary_bytes(tiny.CONFIG, WEIGHTS, axes, LOAD, 2e4, (1024, 1024)) for axes in mesh]
    assert sizes == sorted(sizes, reverse=True)
    # Two layers whole with their gradients, both tables whole with one, and the autoencoder's picture.
    decoder = tiny.CONFIG.decoder
    whole = 2 * 8 * WEIGHTS / decoder.layers + 12 * decoder.vocab * decoder.hidden + 16 * 1024 * 1024 * 3
    assert sizes[-1] > whole
