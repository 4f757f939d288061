"""The sharded state, with moments only for what trains."""

import jax
import numpy as np
import optax
import pytest

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training.optimizer import make_optimizer
from irg_jax.training.state import make_state_spec
from tests import tiny


@pytest.fixture(scope="module", params=["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def spec(request):
    """Of a state in which the ViT is always frozen, on a mesh that splits the weights."""
    optim = tiny.optim(freeze=((r"^vit\.", 0),), moments_dtype=request.param)
    adamw = make_optimizer(optim, optax.constant_schedule(optim.lr))
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    return make_state_spec(tiny.CONFIG, tiny.EXECUTION, adamw, mesh, ShardingRules())


def test_moments_are_sharded_like_their_weights_and_frozen_weights_have_none(spec):
    moments = spec.shardings.opt[1].inner_state
    for moment in (moments.mu, moments.nu):
        assert jax.tree.leaves(moment["blocks"]) == jax.tree.leaves(spec.shardings.params["blocks"])
        assert jax.tree.leaves(moment["vit"]) == [] != jax.tree.leaves(spec.shardings.params["vit"])


def test_a_state_without_moments_for_frozen_weights_is_saved_and_restored(spec, tmp_path):
    state = spec.init(0)
    state = state._replace(opt=jax.tree.map(lambda x: x + 1, state.opt))
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, params=state.params, ema=state.ema, opt=state.opt, data={}, meta={})
        restored = checkpoints.restore(1, abstract={"opt": spec.abstract.opt})["opt"]
    assert jax.tree.structure(restored) == jax.tree.structure(state.opt)
    jax.tree.map(np.testing.assert_array_equal, restored, state.opt)
    assert jax.tree.map(lambda x: x.sharding, restored) == spec.shardings.opt
