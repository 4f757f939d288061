"""LoRA on the tiny model: what it changes, what it keeps, and that merged weights give the same results."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError
from irg_jax.core.tree import weight_name
from irg_jax.models.lora import LoRAConfig, LoRAParam, merge, wrap
from irg_jax.models.transformer import abstract_model
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training import losses
from irg_jax.training.random_streams import stream_key
from irg_jax.training.state import make_state_spec
from tests import tiny

LORA = LoRAConfig(rank=2, alpha=4.0, weights=r"blocks\.(und|gen)\.(q|v|up)\.kernel|llm2vae")


def wrapped(b_scale=0.0):
    """The tiny model with its weights and LoRA updates whose B is random times ``b_scale``."""
    model = wrap(tiny.model(), LORA, rngs=nnx.Rngs(params=1))
    graphdef, factors, base = nnx.split(model, LoRAParam, ...)
    rng = np.random.default_rng(0)

    def add_noise_to_b(path, x):
        return x + b_scale * rng.normal(size=x.shape).astype(np.float32) if "lora_b" in weight_name(path) else x

    return graphdef, jax.tree_util.tree_map_with_path(add_noise_to_b, factors), base


def outputs(model):
    batch = tiny.batch(tiny.row([tiny.conversation(1)]), tiny.row([tiny.conversation(4)]))
    draws = losses.draw_flow(functools.partial(stream_key, 0), batch, tiny.CONFIG, 4.0)
    run = jax.jit(lambda model: losses.token_losses(model, batch, tiny.latents(batch), draws))
    return np.concatenate([np.ravel(x) for x in run(model)])


def test_an_initial_update_changes_nothing_and_the_base_keeps_its_names():
    graphdef, factors, base = wrapped()
    assert jax.tree.structure(base) == jax.tree.structure(tiny.weights())
    assert np.isfinite(outputs(tiny.model())).all()
    np.testing.assert_array_equal(outputs(nnx.merge(graphdef, factors, base)), outputs(tiny.model()))


def test_the_regex_decides_what_is_wrapped():
    names = {weight_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(wrapped()[1])}
    layers = [f"blocks.{expert}.{name}" for expert in ("und", "gen") for name in ("q", "v", "up")] + ["llm2vae"]
    assert names == {f"{layer}.lora_{x}" for layer in layers for x in "ab"}


def test_merged_weights_give_the_results_of_the_wrapped_model():
    graphdef, factors, base = wrapped(b_scale=0.3)
    merged = nnx.merge(abstract_model(tiny.CONFIG, tiny.EXECUTION)[0], merge(base, factors, LORA))
    ours = outputs(merged)
    np.testing.assert_allclose(ours, outputs(nnx.merge(graphdef, factors, base)), rtol=0, atol=2e-5)
    assert np.abs(ours - outputs(tiny.model())).max() > 0.01


def test_a_state_holds_only_the_updates_and_the_base_has_the_compute_dtype():
    mesh = make_mesh(MeshConfig(data=1, fsdp=-1, tensor=1), jax.devices()[:2])
    execution = tiny.execution(dtype="bfloat16")
    spec = make_state_spec(tiny.CONFIG, execution, optax.adam(1e-3), mesh, ShardingRules(), LORA)
    state = spec.init(0)
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert {x.dtype for x in jax.tree.leaves(spec.base)} == {jnp.dtype("bfloat16")}
    assert sum(x.size for x in jax.tree.leaves(state.params)) < 0.3 * sum(x.size for x in jax.tree.leaves(spec.base))
    q = {weight_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(state.params)}["blocks.und.q.lora_a"]
    assert q.sharding.spec == jax.sharding.PartitionSpec(None, ("fsdp", "context"), None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (dict(rank=0, alpha=1.0, weights="q"), "lora.rank: 0"),
        (dict(rank=1, alpha=1.0, weights="("), "lora.weights: '('"),
        (dict(rank=1, alpha=1.0), "lora.weights"),
    ],
)
def test_invalid_values_are_refused_by_their_key(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        dataclass_from_mapping(LoRAConfig, values, "lora")


def test_a_regex_that_matches_nothing_is_refused():
    with pytest.raises(ConfigError, match="matches no linear layer"):
        wrap(tiny.model(), LoRAConfig(1, 1.0, "attention"), rngs=nnx.Rngs(params=0))
