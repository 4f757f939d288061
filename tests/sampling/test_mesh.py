"""Sampling on a mesh: where weights and rows are, and programs that lower for several TPU chips.

``test_two_turn.py`` compares the trajectories of meshes with those of one device.
"""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.models.transformer import abstract_model
from irg_jax.sampling import two_turn
from irg_jax.sampling.decode import TextBatch
from irg_jax.sampling.primitives import ProgramSpec, Weights
from irg_jax.sharding.activations import ROWS
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules, state_shardings, with_shardings
from tests import tiny
from tests.sampling.test_two_turn import CONFIG, PROMPTS, sampler


def test_weights_and_rows_are_split_over_the_devices():
    many = sampler(mesh=MeshConfig(fsdp=8))
    embedding = many.weights.params["embedding"].get_value()
    assert embedding.addressable_shards[0].data.size == embedding.size // 8
    rows, tokenized, keys = many._inputs(PROMPTS, 0, [0, 1])
    assert rows == [0, 1, 1, 1, 1, 1, 1, 1]
    assert all(x.addressable_shards[0].data.shape[0] == 1 for x in (*tokenized, keys))


@pytest.mark.parametrize(
    ("axes", "system_prompt"), [(dict(fsdp=2, tensor=2), CONFIG.system_prompt), (dict(fsdp=1, context=4), "")]
)
def test_both_turns_lower_for_four_tpu_chips(axes, system_prompt):
    """The compiler refuses to split a kernel over devices by itself, and a constraint that does not divide."""
    mesh = make_mesh(MeshConfig(**axes), jax.devices()[:4])
    graphdef, params = abstract_model(tiny.CONFIG, tiny.execution(attention="tpu"))
    params = with_shardings(params, state_shardings(params, mesh, ShardingRules()))
    spec = ProgramSpec(graphdef, tiny.processor(), dataclasses.replace(CONFIG, system_prompt=system_prompt))
    weights = Weights(params, tiny.VAE)

    def abstract(*shape, dtype=jnp.int32):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, P(ROWS)))

    prompts = TextBatch(abstract(4, 8), abstract(4), abstract(4, dtype=bool))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 4))
    with jax.set_mesh(mesh):
        first = two_turn.first_turn.trace(spec, weights, prompts, None, None, keys)
        assert "tpu_custom_call" in first.lower(lowering_platforms=("tpu",)).as_text()
        _, _, rope, cache = first.out_info
        batch = (cache, rope, abstract(4, 32, 32, 3, dtype=jnp.uint8), None, None, keys)
        second = two_turn.second_turn.trace(spec, weights, *batch, prompt_size=8)
        assert "tpu_custom_call" in second.lower(lowering_platforms=("tpu",)).as_text()
