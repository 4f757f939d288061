"""The roofline: traffic, compute, and which of them bounds a step."""

import dataclasses

import pytest

from irg_jax.planning.estimate import Load, estimate, kept_bytes, temporary_bytes
from irg_jax.planning.topology import parse
from tests import tiny

LOAD = Load(rows=8, und=8e4, gen=8e4, vit=4e4, pairs=1e9, images=12, image_flops=0.0)
ONE = dict(data=1, fsdp=1, context=1, tensor=1)
WEIGHTS = 1e9


def of(axes, topology="v5p:2x2x2", slices=1, load=LOAD, **changes):
    """The estimate of the tiny model on a mesh; ``changes`` are those of its execution."""
    execution, chips = tiny.execution(**changes), parse(topology, slices)
    return estimate(tiny.CONFIG, execution, WEIGHTS, ONE | axes, chips, load, 12)


def test_one_device_has_no_traffic():
    found = of({})
    assert not any(found.traffic.values())
    assert found.seconds["links"] == found.seconds["network"] == 0


def test_each_axis_has_its_own_traffic():
    weights, scattered, reduced, keys, activations = of({}).traffic
    assert {name for name, value in of(dict(fsdp=4)).traffic.items() if value} == {weights, scattered}
    assert {name for name, value in of(dict(context=4)).traffic.items() if value} == {weights, scattered, keys}
    assert {name for name, value in of(dict(data=4)).traffic.items() if value} == {reduced}
    assert {name for name, value in of(dict(tensor=4)).traffic.items() if value} == {activations}
    # Two passes in the compute dtype, and all but this chip's own shard.
    assert of(dict(fsdp=4)).traffic[weights] == pytest.approx(2 * 4 * WEIGHTS * 3 / 4)
    assert of(dict(fsdp=4), remat="full").traffic[weights] == pytest.approx(3 * 4 * WEIGHTS * 3 / 4)


def test_recomputing_the_forward_pass_costs_a_third_more():
    kept, recomputed = of(dict(fsdp=8)), of(dict(fsdp=8), remat="full")
    assert recomputed.seconds["compute"] == pytest.approx(4 / 3 * kept.seconds["compute"])
    assert recomputed.model_flops == kept.model_flops


@pytest.mark.parametrize(
    ("axes", "rounds"), [(dict(fsdp=8), 12), (dict(fsdp=2, context=4), 4 * 3), (dict(context=8), 8 * 2)]
)
def test_the_images_of_a_row_are_shared_by_its_chips(axes, rounds):
    load = dataclasses.replace(LOAD, image_flops=1e12)
    more = of(axes, load=load).seconds["compute"] - of(axes).seconds["compute"]
    assert more * 459e12 == pytest.approx(rounds * 1e12)


def test_between_slices_gradients_go_over_the_network():
    one_slice, two_slices = of(dict(data=2, fsdp=8)), of(dict(data=2, fsdp=8), slices=2)
    assert one_slice.seconds["network"] == 0 < two_slices.seconds["network"]
    assert two_slices.bound == "network"


def test_the_slowest_resource_bounds_the_step():
    found = of(dict(fsdp=8))
    assert found.step_seconds == found.seconds[found.bound] == max(found.seconds.values())
    assert found.mfu == pytest.approx(found.model_flops / 8 / 459e12 / found.step_seconds)
    assert 0 < found.mfu < 1


def test_every_remat_policy_keeps_less_than_the_one_before():
    def kept(remat):
        return kept_bytes(tiny.CONFIG, tiny.execution(remat=remat, logits_chunk=1), 1, 4096)

    sizes = [kept(remat) for remat in ("none", "dots", "attention", "full")]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 4
    assert kept("offload") < sizes[-1]


def test_more_chips_need_less_memory_each_down_to_what_is_not_sharded():
    meshes = [ONE | dict(fsdp=8, context=context) for context in (1, 8, 64)]
    sizes = [temporary_bytes(tiny.CONFIG, tiny.EXECUTION, WEIGHTS, axes, LOAD, 2e4, (1024, 1024)) for axes in meshes]
    assert sizes == sorted(sizes, reverse=True)
    # Two gathered layers with their gradients, both gathered tables with one gradient, and the image in the VAE.
    decoder = tiny.CONFIG.decoder
    unsharded = 2 * 8 * WEIGHTS / decoder.layers + 12 * decoder.vocab * decoder.hidden + 16 * 1024 * 1024 * 3
    assert sizes[-1] > unsharded
