"""LoRA around the tiny model: what it changes, what it leaves alone, and that merging says the same."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from irg_jax.errors import UserError
from irg_jax.models.lora import LoRAConfig, LoRAParam, merge, wrap
from irg_jax.training import losses, sharding
from irg_jax.training.optimizer import weight_name
from irg_jax.training.state import graph_of, shape_state
from tests import tiny

LORA = LoRAConfig(rank=2, alpha=4.0, weights=r"blocks\.(und|gen)\.(q|v|up)\.kernel|llm2vae")


def wrapped(b_scale=0.0):
    """The tiny model with its own weights and updates whose B is random times ``b_scale``."""
    model = wrap(tiny.model(), LORA, rngs=nnx.Rngs(params=1))
    graphdef, factors, base = nnx.split(model, LoRAParam, ...)
    rng = np.random.default_rng(0)

    def one(path, x):
        return x + b_scale * rng.normal(size=x.shape).astype(np.float32) if "lora_b" in weight_name(path) else x

    return graphdef, jax.tree_util.tree_map_with_path(one, factors), base


def outputs(model):
    batch = tiny.batch(tiny.row([tiny.conversation(1)]), tiny.row([tiny.conversation(4)]))
    draws = losses.draw_flow(jax.random.key(0), batch, tiny.CONFIG, 4.0)
    run = jax.jit(lambda model: losses.token_losses(model, batch, tiny.latents(batch), draws))
    return np.concatenate([np.ravel(x) for x in run(model)])


def test_a_fresh_update_changes_nothing_and_the_base_keeps_its_names():
    graphdef, factors, base = wrapped()
    assert jax.tree.structure(base) == jax.tree.structure(tiny.weights())
    assert np.isfinite(outputs(tiny.model())).all()
    np.testing.assert_array_equal(outputs(nnx.merge(graphdef, factors, base)), outputs(tiny.model()))


def test_the_regex_decides_what_is_wrapped():
    names = {weight_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(wrapped()[1])}
    layers = [f"blocks.{expert}.{name}" for expert in ("und", "gen") for name in ("q", "v", "up")] + ["llm2vae"]
    assert names == {f"{layer}.lora_{x}" for layer in layers for x in "ab"}


def test_merged_weights_give_what_the_wrapped_model_gives():
    graphdef, factors, base = wrapped(b_scale=0.3)
    merged = nnx.merge(graph_of(tiny.CONFIG)[0], merge(base, factors, LORA))
    ours = outputs(merged)
    np.testing.assert_allclose(ours, outputs(nnx.merge(graphdef, factors, base)), rtol=1e-4, atol=1e-4)
    assert np.abs(ours - outputs(tiny.model())).max() > 0.01


def test_a_state_holds_the_updates_alone_and_the_base_in_the_compute_type():
    mesh = sharding.make_mesh(dict(data=1, fsdp=-1, tensor=1), jax.devices()[:2])
    shaped = shape_state(tiny.config(dtype="bfloat16"), optax.adam(1e-3), mesh, sharding.Rules(), LORA)
    state = shaped.init(0)
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    assert {x.dtype for x in jax.tree.leaves(shaped.base)} == {jnp.dtype("bfloat16")}
    assert sum(x.size for x in jax.tree.leaves(state.params)) < 0.3 * sum(x.size for x in jax.tree.leaves(shaped.base))
    q = {weight_name(p): x for p, x in jax.tree_util.tree_leaves_with_path(state.params)}["blocks.und.q.lora_a"]
    assert q.sharding.spec == jax.sharding.PartitionSpec(None, ("fsdp", "context"), None)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (dict(rank=0, alpha=1.0, weights="q"), "lora.rank: 0"),
        (dict(rank=1, alpha=1.0, weights="("), "lora.weights: '('"),
        (dict(rank=1, alpha=1.0), "lora.weights"),
    ],
)
def test_what_it_refuses(values, named):
    with pytest.raises(UserError, match=named.replace("(", r"\(")):
        LoRAConfig.from_mapping(values)


def test_a_regex_that_matches_nothing_is_refused():
    with pytest.raises(UserError, match="matches no linear layer"):
        wrap(tiny.model(), LoRAConfig(1, 1.0, "attention"), rngs=nnx.Rngs(params=0))
