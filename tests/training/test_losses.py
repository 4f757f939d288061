"""Losses, gradients and the first update, against those of the released training code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from irg_jax.models.config import PixelVAEConfig
from irg_jax.models.vae.latents import patchify, to_unit
from irg_jax.models.vae.pixel import PixelVAE
from irg_jax.training import losses
from irg_jax.training.optimizer import make_optimizer
from irg_jax.training.random_streams import stream_key
from tests import released, tiny


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
    np.testing.assert_allclose(token.ce[learned], wanted["ce_per_token"], atol=1e-4)
    assert not np.any(token.ce[~learned])
    assert float(ce) == pytest.approx(float(wanted["ce"]), rel=1e-5)


def test_every_token_has_the_released_flow_error(ours, wanted):
    batch, token, (_, mse), _ = ours
    np.testing.assert_allclose(token.mse[batch["gen"]["noised"]], wanted["mse_per_token"].mean(-1), atol=1e-4)
    assert not np.any(token.mse[~batch["gen"]["noised"]])
    assert float(mse) == pytest.approx(float(wanted["mse"]), rel=1e-5)


def test_gradients_are_the_released_ones(ours, wanted):
    grads = ours[-1]
    assert float(optax.tree.norm(grads)) == pytest.approx(float(wanted["grad_norm"]), rel=1e-4)
    found = released.by_released_name(grads)
    for name, gradient in released.arrays("train_grads").items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-4 * np.abs(gradient).max(), err_msg=name)


def test_the_first_update_is_the_released_one(ours):
    optim = tiny.optim(lr=2e-5, clip_norm=1.0, b1=0.9, b2=0.95, eps=1e-15)
    optimizer = make_optimizer(optim, optax.constant_schedule(optim.lr))
    weights, grads = released.weights(), ours[-1]
    step = jax.jit(lambda weights, grads: optimizer.update(grads, optimizer.init(weights), weights)[0])
    updated = released.by_released_name(optax.apply_updates(weights, step(weights, grads)))
    wanted = released.arrays("train_adamw_step")
    errors = np.concatenate([np.ravel(np.abs(updated[name] - value)) for name, value in wanted.items()])
    # Adam's first step is the gradient's sign, which says nothing where that is the sign of a rounding error.
    assert (errors <= 1e-6).mean() >= 0.999
    assert errors.max() <= 2 * optim.lr * 1.01


def test_bfloat16_losses_are_close(ours):
    batch, token, (ce, mse), _ = ours
    graphdef = released.graphdef(dtype="bfloat16")
    draws = released.flow_draws(batch, shift=4.0)
    (_, (bfloat16, means)), _ = loss_and_gradients(graphdef, released.weights(), batch, released.latents(batch), draws)
    assert [float(x) for x in means] == pytest.approx([float(ce), float(mse)], rel=0.01)
    assert np.abs(bfloat16.ce - token.ce).max() < 0.1
    assert np.abs(bfloat16.mse - token.mse).max() < 0.03


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
