"""Losses, gradients and the first update, against those of the released training code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from irg_jax.models import flow
from irg_jax.models.config import PixelVAEConfig
from irg_jax.models.vae.latents import patchify, to_unit
from irg_jax.models.vae.pixel import PixelVAE
from irg_jax.training import losses
from irg_jax.training.optimizer import make_optimizer
from irg_jax.training.random_streams import stream_key
from tests import released, tiny
from tests.models.test_transformer import streams

# Bounds, and the errors measured on an x86-64 CPU.
CE = 2e-5  # 2.4e-6, per token
WEIGHTED_CE = 4e-6  # 6.0e-7
MSE = 1e-5  # 1.4e-6, per token
CHANNEL_MSE = 2e-4  # 5.0e-5, of values up to 43
MEAN = 1e-6  # 1.4e-7, relative, of both losses
GRADIENT = 1e-5  # 1.3e-6, relative to the largest of each tensor
NORM = 2e-6  # 2.2e-7, relative


@functools.partial(jax.jit, static_argnums=0)
def loss_and_gradients(graphdef, weights, batch, x0, draws):
    def loss(weights):
        token = losses.token_losses(nnx.merge(graphdef, weights), batch, x0, draws)
        means = token.ce.sum() / (batch["und"]["weight"] > 0).sum(), token.mse.sum() / batch["gen"]["noised"].sum()
        return sum(means), (token, means)

    return jax.value_and_grad(loss, has_aux=True)(weights)


@pytest.fixture(scope="module")
def ours():
    batch = released.packed_batch()
    graphdef = released.graphdef()
    draws = released.flow_draws(batch, shift=4.0)
    (_, (token, means)), grads = loss_and_gradients(graphdef, released.weights(), batch, released.latents(batch), draws)
    return batch, token, means, grads


@pytest.fixture(scope="module")
def wanted():
    return released.arrays("train_forward")


def test_every_token_has_the_released_cross_entropy(ours, wanted):
    batch, token, (ce, _), _ = ours
    learned = batch["und"]["weight"] > 0
    np.testing.assert_allclose(token.ce[learned], wanted["ce_per_token"], rtol=0, atol=CE)
    assert not np.any(token.ce[~learned])
    assert float(ce) == pytest.approx(float(wanted["ce"]), rel=MEAN)


def test_every_token_has_the_released_flow_error(ours, wanted):
    batch, token, (_, mse), _ = ours
    np.testing.assert_allclose(token.mse[batch["gen"]["noised"]], wanted["mse_per_token"].mean(-1), rtol=0, atol=MSE)
    assert not np.any(token.mse[~batch["gen"]["noised"]])
    assert float(mse) == pytest.approx(float(wanted["mse"]), rel=MEAN)


def test_the_cross_entropy_of_every_token_is_multiplied_by_its_weight(ours, wanted):
    """With the weights of the released reweighting, 1 / sqrt(supervised tokens of the text)."""
    batch, token, _, _ = ours
    learned = batch["und"]["weight"] > 0
    weights = released.arrays("packed_batch")["ce_loss_weights"]
    assert len(np.unique(weights)) > 3
    reweighted = np.zeros_like(batch["und"]["weight"])
    reweighted[learned] = weights
    changed = batch | {"und": batch["und"] | {"weight": reweighted}}
    draws = released.flow_draws(batch, shift=4.0)
    latents, graphdef = released.latents(batch), released.graphdef()
    run = jax.jit(lambda w, *inputs: losses.token_losses(nnx.merge(graphdef, w), *inputs))
    found = run(released.weights(), changed, latents, draws)
    np.testing.assert_allclose(found.ce[learned], weights * wanted["ce_per_token"], rtol=0, atol=WEIGHTED_CE)
    np.testing.assert_array_equal(found.mse, token.mse)


def test_every_channel_has_the_released_flow_error(ours, wanted):
    """The loss is their mean, which would hide errors that cancel."""
    batch = ours[0]
    model, draws, latents = released.model(), released.flow_draws(batch, shift=4.0), released.latents(batch)
    run = jax.jit(lambda model, *inputs: model.velocity(model(*streams(model, *inputs))[1]))
    velocity = run(model, batch, latents, draws)
    error = np.asarray(velocity - flow.velocity_target(latents, draws.noise))[batch["gen"]["noised"]]
    np.testing.assert_allclose(error**2, wanted["mse_per_token"], rtol=0, atol=CHANNEL_MSE)


def test_gradients_are_the_released_ones(ours, wanted):
    grads = ours[-1]
    assert float(optax.tree.norm(grads)) == pytest.approx(float(wanted["grad_norm"]), rel=NORM)
    found = released.by_released_name(grads)
    for name, gradient in released.arrays("train_grads").items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=GRADIENT * np.abs(gradient).max(), err_msg=name)


def test_the_first_update_is_the_released_one(ours):
    optim = tiny.optim(lr=2e-5, clip_norm=1.0, b1=0.9, b2=0.95, eps=1e-15)
    optimizer = make_optimizer(optim, optax.constant_schedule(optim.lr))
    weights, grads = released.weights(), ours[-1]
    step = jax.jit(lambda weights, grads: optimizer.update(grads, optimizer.init(weights), weights)[0])
    updated = released.by_released_name(optax.apply_updates(weights, step(weights, grads)))
    wanted = released.arrays("train_adamw_step")
    for name, value in wanted.items():
        np.testing.assert_allclose(updated[name], value, rtol=2e-7, atol=1e-11, err_msg=name)  # 1.5e-11: one unit


def test_bfloat16_losses_are_close(ours):
    batch, token, (ce, mse), _ = ours
    graphdef = released.graphdef(dtype="bfloat16")
    draws = released.flow_draws(batch, shift=4.0)
    (_, (bfloat16, means)), _ = loss_and_gradients(graphdef, released.weights(), batch, released.latents(batch), draws)
    assert [float(x) for x in means] == pytest.approx([float(ce), float(mse)], rel=4e-3)  # 4.3e-4
    assert np.abs(bfloat16.ce - token.ce).max() < 0.1  # 0.050
    assert np.abs(bfloat16.mse - token.mse).max() < 0.03  # 0.013


# --- latents and draws


def test_latent_tokens_are_the_patches_of_their_own_image():
    batch = tiny.batch(*(tiny.row([tiny.conversation(seed)]) for seed in (1, 4)))
    vae = PixelVAE(PixelVAEConfig(downsample=4, scale=2.0, shift=0.6))
    tokens = np.asarray(losses.latent_tokens(vae, 2, batch))
    gen = batch["gen"]
    assert (gen["position"] >= 0).any(1).all()
    for b, i in np.argwhere(gen["position"] >= 0):
        image = to_unit(jnp.asarray(batch["images"][b, gen["image"][b, i]]))[None]
        wanted = patchify(vae.encode(image), 2)[0, gen["patch_row"][b, i], gen["patch_column"][b, i]]
        np.testing.assert_allclose(tokens[b, i], wanted, atol=1e-6)


def test_draws_are_one_timestep_per_image_and_noise_per_token():
    batch = tiny.batch(tiny.row([tiny.conversation(1)]), tiny.row([tiny.conversation(4)]))
    draws = losses.draw_flow(functools.partial(stream_key, 0), batch, tiny.CONFIG, shift=4.0)
    assert draws.times.shape == (2, tiny.BUDGETS.images)
    assert draws.noise.shape == (2, tiny.BUDGETS.gen, 192)
    assert len(np.unique(draws.times)) == draws.times.size


def test_every_image_has_posterior_noise_of_its_own():
    batch = tiny.batch(tiny.row([tiny.conversation(1)]), tiny.row([tiny.conversation(4)]))
    noise = losses.draw_posterior(jax.random.key(0), batch, tiny.CONFIG)
    assert noise.shape == (2, tiny.BUDGETS.images, 8, 8, 48)
    assert len(np.unique(noise)) > 0.99 * noise.size


def test_sums_by_mode_leave_out_padding():
    values, modes = np.array([[1, 2, 4, 100]], np.float32), np.array([[0, 2, 2, -1]])
    np.testing.assert_allclose(losses.sum_by_mode(values, modes, 3), [1, 0, 6])


def test_a_batch_without_images_has_a_text_loss():
    budgets = tiny.Budgets(und=40, gen=0, vit=0, images=0, image_size=(32, 32), vit_patch=192)
    batch = tiny.batch(tiny.row([tiny.conversation(0, parts=1)], budgets))
    draws = losses.draw_flow(functools.partial(stream_key, 0), batch, tiny.CONFIG, shift=4.0)
    token = losses.token_losses(tiny.model(), batch, tiny.latents(batch), draws)
    assert token.ce.sum() > 0 and token.mse.shape == (1, 0)
