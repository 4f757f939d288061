"""Prints the differences to the released code: ``python -m tests.released_errors``. The bounds are in the tests."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from irg_jax.models import embeddings
from irg_jax.models.attention.spans import Spans
from irg_jax.models.vae.latents import to_unit
from irg_jax.training.optimizer import make_optimizer
from tests import released, tiny
from tests.models.test_transformer import streams
from tests.sampling import test_released as sampling
from tests.training.test_losses import loss_and_gradients

BATCH = released.packed_batch()
DRAWS = released.flow_draws(BATCH, shift=4.0)
FORWARD, PARTS = released.arrays("train_forward"), released.arrays("parts")


def largest(ours, theirs) -> float:
    """The largest absolute difference."""
    return float(np.abs(np.asarray(ours, np.float32) - theirs).max())


def report(name: str, *errors: float) -> None:
    """Prints one line."""
    print(f"{name:58s}", *(f"{error:.1e}" for error in errors))


def parts() -> None:
    """Embeddings, ViT, connector, VAE."""
    model, vit = released.model(), BATCH["vit"]
    time = model.time(jnp.asarray(PARTS["timestep"]), jnp.dtype("float32"))
    report("time embedding", largest(time, PARTS["timestep_embedding"]))
    for name, side in (("latent_pos_embed", 8), ("vit_pos_embed", 10)):
        report(name, largest(embeddings.position_2d(jnp.arange(side**2), side, 64), PARTS[name]))
    spans = Spans(vit["position"], vit["start"], vit["end"])
    features = model.vit(to_unit(vit["patches"]), vit["pos_id"], spans)
    report("ViT features", largest(features[0], PARTS["vit_features"]))
    table = embeddings.position_2d(vit["pos_id"], 10, 64)
    report("connector", largest((model.connector(features, vit["pos_id"]) - table)[0], PARTS["vit_connected"]))
    latents = PARTS["vae_latent_mean_scaled"].transpose(0, 2, 3, 1)
    encode, decode = jax.jit(lambda v, x: v.encode(x)), jax.jit(lambda v, x: v.decode(x))
    report("VAE encode", largest(encode(released.vae(), PARTS["vae_image"].transpose(0, 2, 3, 1)), latents))
    report("VAE decode", largest(decode(released.vae(), latents), PARTS["vae_decoded"].transpose(0, 2, 3, 1)))


def training(dtype: str) -> None:
    """Hidden states, losses, gradients and the first update."""
    graphdef = released.graphdef(dtype=dtype)
    weights = released.weights()
    latents = released.latents(BATCH)
    run = jax.jit(lambda model, *inputs: model(*streams(model, *inputs)))
    hidden = run(nnx.merge(graphdef, weights), BATCH, latents, DRAWS)[:2]
    expected = [FORWARD["last_hidden_state"][BATCH[name]["position"][0]] for name in ("und", "gen")]
    report(f"{dtype}: last hidden state", max(largest(h[0], w) for h, w in zip(hidden, expected, strict=True)))
    (_, (token, means)), grads = loss_and_gradients(graphdef, weights, BATCH, latents, DRAWS)
    learned, noised = BATCH["und"]["weight"] > 0, BATCH["gen"]["noised"]
    report(f"{dtype}: CE per token", largest(token.ce[learned], FORWARD["ce_per_token"]))
    report(f"{dtype}: MSE per token", largest(token.mse[noised], FORWARD["mse_per_token"].mean(-1)))
    report(
        f"{dtype}: CE, MSE, relative",
        *(abs(float(m) / FORWARD[n] - 1) for m, n in zip(means, ("ce", "mse"), strict=True)),
    )
    ours, theirs = released.by_released_name(grads), released.arrays("train_grads")
    report(
        f"{dtype}: gradients, relative to the tensor's largest",
        max(largest(ours[n], g) / np.abs(g).max() for n, g in theirs.items()),
    )
    report(f"{dtype}: gradient norm, relative", abs(float(optax.tree.norm(grads)) / FORWARD["grad_norm"] - 1))
    optim = tiny.optim(lr=2e-5, clip_norm=1.0, b1=0.9, b2=0.95, eps=1e-15)
    optimizer = make_optimizer(optim, optax.constant_schedule(optim.lr))
    updates, _ = optimizer.update(grads, optimizer.init(weights), weights)
    updated, theirs = (
        released.by_released_name(optax.apply_updates(weights, updates)),
        released.arrays("train_adamw_step"),
    )
    errors = np.concatenate([np.ravel(np.abs(updated[n] - w)) for n, w in theirs.items()])
    report(f"{dtype}: first update; share beyond 1e-6", errors.max(), (errors > 1e-6).mean())


def two_turns() -> None:
    """KV cache, latents and images."""
    cache, expected = sampling.programs(given=True)[2], sampling.WANTED
    seen = cache.start[0] < sampling.FAR
    pairs = ((cache.k, "key_cache_turn1"), (cache.v, "value_cache_turn1"))
    report("keys and values after turn 1", *(largest(x[:, 0, seen], expected[name]) for x, name in pairs))
    for name in ("turn1", "turn1_nocfg", "turn1_channel"):
        report(f"latents {name}", largest(sampling.turns(turn1=name)[0].latents, expected[f"latent_{name}"]))
    for name in ("turn2", "turn2_global"):
        report(f"latents {name}", largest(sampling.turns(turn2=name)[1].latents, expected[f"latent_{name}"]))
    for turn in (1, 2):
        levels = np.abs(sampling.turns()[turn - 1].image.astype(int) - expected[f"image_turn{turn}"])
        report(f"image {turn}: levels of 256; share of pixels that differ", levels.max(), (levels > 0).mean())


if __name__ == "__main__":
    parts()
    training("float32")
    training("bfloat16")
    two_turns()
