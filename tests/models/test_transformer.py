"""The unified transformer: the released model's numbers, and what must not change its outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from irg_jax.core.tree import weight_name
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.packing.layout import Budgets
from irg_jax.models import flow
from irg_jax.models.attention.spans import Spans
from irg_jax.models.transformer import KVCache, Stream, UnifiedTransformer, abstract_model
from irg_jax.models.vae.latents import to_unit
from irg_jax.training import losses
from irg_jax.training.losses import FlowDraws
from irg_jax.training.random_streams import stream_key
from tests import released, tiny

# --- the released model


def test_hidden_states_are_the_released_ones():
    batch, model = released.packed_batch(), released.model()
    draws = released.flow_draws(batch, shift=4.0)
    latents = released.latents(batch)
    und_h, gen_h, _ = jax.jit(lambda model, *inputs: model(*streams(model, *inputs)))(model, batch, latents, draws)
    wanted = released.arrays("train_forward")["last_hidden_state"]
    np.testing.assert_allclose(und_h[0], wanted[batch["und"]["position"][0]], rtol=0, atol=3e-5)
    np.testing.assert_allclose(gen_h[0], wanted[batch["gen"]["position"][0]], rtol=0, atol=3e-5)


def test_bfloat16_hidden_states_are_close_to_the_released_ones():
    batch, draws = released.packed_batch(), released.flow_draws(released.packed_batch(), shift=4.0)
    graphdef = released.graphdef(dtype="bfloat16")
    latents = released.latents(batch)
    run = jax.jit(lambda model, *inputs: model(*streams(model, *inputs)))
    und_h, _, _ = run(nnx.merge(graphdef, released.weights()), batch, latents, draws)
    wanted = released.arrays("train_forward")["last_hidden_state"][batch["und"]["position"][0]]
    error = np.abs(np.asarray(und_h[0], np.float32) - wanted)
    assert error.mean() < 0.02 and error.max() < 0.2  # of numbers whose mean size is 0.8


# --- one row


def streams(model, batch, latents, draws):
    """Both streams of a batch, embedded."""
    und, gen, vit = batch["und"], batch["gen"], batch["vit"]
    t = jnp.where(gen["noised"], jnp.take_along_axis(draws.times, gen["image"], 1), 0.0)
    x = flow.interpolate(latents, draws.noise, t)
    spans = Spans(vit["position"], vit["start"], vit["end"])
    features = model.vit_features(to_unit(vit["patches"]), vit["pos_id"], spans)
    columns = [[s[name] for name in ("position", "rope", "start", "end")] for s in (und, gen)]
    return (
        Stream(model.embed_und(und["ids"], und["vit"], features), *columns[0]),
        Stream(model.embed_gen(x, t, gen["pos_id"]), *columns[1]),
    )


@functools.partial(jax.jit, static_argnums=0)
def logits_and_velocities(graphdef, weights, batch):
    model = nnx.merge(graphdef, weights)
    latents = tiny.latents(batch)
    # Without noise a token is a function of its pixels, so that it moves with its sample.
    draws = FlowDraws(jnp.full(batch["images"].shape[:2], 0.7), jnp.zeros_like(latents))
    und, gen, _ = model(*streams(model, batch, latents, draws))
    return model.logits(und), model.velocity(gen)


def outputs(row, weights=None, **changes):
    """Logits and velocities of the tokens in use, by position in the row: (und, gen)."""
    out = logits_and_velocities(
        abstract_model(tiny.CONFIG, tiny.execution(**changes))[0],
        tiny.weights() if weights is None else weights,
        tiny.batch(row),
    )
    return [np.asarray(x[0])[row[name]["position"] >= 0] for x, name in zip(out, ("und", "gen"), strict=True)]


UNDERSTOOD = dict(need_vae=True, need_vit=True)
GENERATED = (Text("two circles", need_loss=True), Image(tiny.png(2), need_loss=True))
A = Conversation("a", (Text("a red bench"), Image(tiny.png(1), **UNDERSTOOD), *GENERATED))
B = Conversation("b", (Text("three squares above a bird"), Image(tiny.png(3, 16, 32), True)))
C = Conversation("c", (Image(tiny.png(4, 16, 16), need_vit=True), Text("a green clock", True)))


def lengths(sample):
    row = tiny.row([sample])
    return [(row[stream]["position"] >= 0).sum() for stream in ("und", "gen")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_other_samples_in_a_row_change_nothing(order):
    samples = [A, B, C]
    packed = outputs(tiny.row([samples[i] for i in order]))
    starts = [0, 0]
    for i in order:
        for stream, (alone, n) in enumerate(zip(outputs(tiny.row([samples[i]])), lengths(samples[i]), strict=True)):
            part = packed[stream][starts[stream] : starts[stream] + n]
            np.testing.assert_allclose(part, alone, atol=1e-5)
            starts[stream] += n


def test_padding_changes_nothing():
    exact = outputs(tiny.row([A], Budgets(*tiny.row_cost(A), (32, 32), 192)))
    padded = outputs(tiny.row([A], Budgets(300, 200, 100, 7, (32, 32), 192)))
    for a, b in zip(exact, padded, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_noised_image_changes_only_its_own_tokens():
    """The text after a noised image has the same logits for any image."""
    after = Text("a green clock", True)
    one, two = (
        outputs(tiny.row([Conversation("k", (Text("a red bench"), Image(tiny.png(i), True), after))])) for i in (1, 2)
    )
    edges = 2  # vision_start and vision_end belong to the block
    text = len(one[0]) - edges
    before = len(tiny.processor().tokenizer.encode("a red bench")) + 2
    outside = np.r_[:before, before + edges : text + edges]
    np.testing.assert_array_equal(one[0][outside], two[0][outside])
    assert np.abs(one[1] - two[1]).max() > 1e-3


# --- two experts


def changed_weights(part):
    """``tiny.weights()`` with other values for all weights whose name contains ``part``."""
    other = tiny.weights(1)
    choose = lambda path, a, b: b if part in weight_name(path) else a  # noqa: E731
    return jax.tree_util.tree_map_with_path(choose, tiny.weights(), other)


def test_text_without_images_does_not_depend_on_the_generation_expert():
    row = tiny.row([Conversation("k", (Text("a red bench"), *GENERATED))])
    plain, changed = outputs(row), outputs(row, weights=changed_weights("blocks.gen"))
    text = slice(0, len(plain[0]) - 2)
    np.testing.assert_array_equal(plain[0][text], changed[0][text])
    assert np.abs(plain[1] - changed[1]).max() > 1e-3


def test_a_generation_token_that_sees_no_text_does_not_depend_on_the_understanding_expert():
    row = tiny.row([B])
    gen, und = row["gen"], row["und"]
    # Each understanding token sees only itself, so generation tokens see only the latents of their own image.
    und["start"], und["end"] = und["position"], und["position"] + 1
    plain, changed = outputs(row), outputs(row, weights=changed_weights("blocks.und"))
    assert gen["noised"].any()
    np.testing.assert_array_equal(plain[1], changed[1])
    assert np.abs(plain[0] - changed[0]).max() > 1e-3


def test_a_visible_image_changes_the_text_after_it():
    row = tiny.row([A])
    plain, changed = outputs(row), outputs(row, weights=changed_weights("blocks.gen"))
    before = len(tiny.processor().tokenizer.encode("a red bench")) + 2
    np.testing.assert_array_equal(plain[0][:before], changed[0][:before])
    assert np.abs(plain[0][before + 4 :] - changed[0][before + 4 :]).max() > 1e-3


# --- the KV cache


def split_stream(stream, position):
    """The parts of a stream before and from a position."""
    before = np.asarray(stream.position[0]) < position
    return [Stream(*(x[:, np.flatnonzero(part)] for x in stream)) for part in (before, ~before)]


def test_a_cached_prefix_gives_the_results_of_one_pass():
    batch = tiny.batch(tiny.row([A], Budgets(*tiny.row_cost(A), (32, 32), 192)))
    model = tiny.model()
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(*batch["gen"]["pos_id"].shape, tiny.CONFIG.token_channels)).astype(np.float32)
    draws = FlowDraws(np.full((1, 2), 0.7, np.float32), np.zeros_like(latents))
    und, gen = jax.jit(streams)(model, batch, latents, draws)
    run = jax.jit(lambda model, *inputs: model(*inputs))
    whole_und, whole_gen, new_kv = run(model, und, gen)
    assert new_kv is None

    decoder = tiny.CONFIG.decoder
    no_keys = jnp.zeros((decoder.layers, 1, 0, decoder.kv_heads, decoder.head_dim))
    empty = KVCache(no_keys, no_keys, *jnp.zeros((2, 1, 0), jnp.int32))
    noised = int(batch["gen"]["position"][batch["gen"]["noised"]].min()) - 1  # where the generated image starts
    first, rest = zip(*(split_stream(s, noised) for s in (und, gen)), strict=True)
    *prefix, (k, v) = run(model, *first, empty)
    start, end = (jnp.concatenate([getattr(s, name) for s in first], 1) for name in ("start", "end"))
    *suffix, _ = run(model, *rest, KVCache(k, v, start, end))
    for whole, parts in ((whole_und, (prefix[0], suffix[0])), (whole_gen, (prefix[1], suffix[1]))):
        np.testing.assert_allclose(jnp.concatenate(parts, 1), whole, atol=1e-5)


# --- gradients, rematerialization and dtypes


def loss(graphdef, weights, batch):
    model = nnx.merge(graphdef, weights)
    draws = losses.draw_flow(functools.partial(stream_key, 0), batch, tiny.CONFIG, 4.0)
    token = losses.token_losses(model, batch, tiny.latents(batch), draws)
    return token.ce.sum() + token.mse.sum()


@functools.cache
def gradients(**changes):
    graphdef = abstract_model(tiny.CONFIG, tiny.execution(**changes))[0]
    batch = tiny.batch(tiny.row([A, C]))
    return jax.jit(jax.value_and_grad(loss, argnums=1), static_argnums=0)(graphdef, tiny.weights(), batch)


@pytest.mark.parametrize("remat", ["full", "dots", "attention", "offload"])
def test_remat_changes_no_gradient(remat):
    value, grads = gradients(remat=remat)
    wanted_value, wanted = gradients(gradients="autodiff")
    np.testing.assert_allclose(value, wanted_value, rtol=3e-7)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6), grads, wanted)


def test_the_gradients_written_for_cpus_are_those_of_autodiff():
    value, grads = gradients(gradients="cpu")
    wanted_value, wanted = gradients(gradients="autodiff")
    np.testing.assert_allclose(value, wanted_value, rtol=3e-7)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1.5e-5), grads, wanted)


def test_off_cpus_it_has_forward_mode_derivatives():
    """With plain attention: the other backends have a backward pass of their own, and no forward mode."""
    graphdef = abstract_model(tiny.CONFIG, tiny.execution(attention="plain").on("tpu"))[0]
    batch = tiny.batch(tiny.row([A]))
    run = lambda weights: logits_and_velocities(graphdef, weights, batch)  # noqa: E731
    (_, velocity), (_, change) = jax.jvp(run, (tiny.weights(),), (tiny.weights(1),))
    step = 1e-3
    moved = jax.tree.map(lambda w, d: w + step * d, tiny.weights(), tiny.weights(1))
    difference = (run(moved)[1] - velocity) / step
    assert 0 < jnp.linalg.norm(change - difference) < 0.02 * jnp.linalg.norm(difference)


def test_every_weight_has_a_gradient():
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients(gradients="autodiff")[1]))  # padding included
    without_gradient = [
        weight_name(path)
        for path, g in jax.tree_util.tree_leaves_with_path(gradients(gradients="autodiff")[1])
        if not np.any(g)
    ]
    assert without_gradient == []


def test_bfloat16_is_close():
    for half, whole in zip(outputs(tiny.row([A, B]), dtype="bfloat16"), outputs(tiny.row([A, B])), strict=True):
        assert half.dtype == np.float32  # logits and velocities are float32
        assert np.abs(half - whole).mean() < 0.05 * np.abs(whole).mean()


# --- initial weights


@pytest.fixture(scope="module")
def initial():
    model = lambda: UnifiedTransformer(tiny.CONFIG, tiny.EXECUTION, rngs=nnx.Rngs(params=0))  # noqa: E731
    return jax.jit(lambda: nnx.state(model(), nnx.Param))()


def test_the_initial_generation_expert_is_a_copy_of_the_understanding_expert(initial):
    jax.tree.map(np.testing.assert_array_equal, initial["blocks"]["gen"], initial["blocks"]["und"])


def test_initial_layers_differ(initial):
    kernel = np.asarray(initial["blocks"]["und"]["q"]["kernel"][...])
    assert np.abs(kernel[0] - kernel[1]).max() > 0.01


def test_the_initial_velocity_is_zero(initial):
    for name in ("kernel", "bias"):
        assert not np.any(initial["llm2vae"][name][...])
