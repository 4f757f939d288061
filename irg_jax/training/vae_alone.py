"""Trains a small FLUX VAE alone on pictures, before everything else; afterwards it is frozen, as BAGEL's is.

BAGEL comes with the VAE of FLUX, whose decoder draws edges and textures, so that the flow has to get only a few numbers
per square of pixels right. A model that starts from nothing has none. The loss is that of a VAE: the pixels that come
back from a sample of the posterior, by absolute and squared error, and the posterior's divergence from a standard
normal, which keeps latents centred, of unit variance and smooth. There is no discriminator and no perceptual part.

There are no checkpoints on the way: a run that was cut off begins anew. One device computes it, of the primary process
where there are several.
"""

import dataclasses
import functools
import logging
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from irg_jax.checkpoints.bagel import assets
from irg_jax.checkpoints.bagel import vae as vae_file
from irg_jax.checkpoints.bagel.contents import VAE_FILE
from irg_jax.core.config.ranges import above
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_there, make_folder, write_json
from irg_jax.core.storage import AnyPath
from irg_jax.data import labelled
from irg_jax.models.config import FluxVAEConfig
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.models.vae.latents import to_bytes, to_unit
from irg_jax.training.encoder_alone import EncoderAloneConfig, all_in_batches, random_batches

METRICS = "metrics.json"

_LINES = 10  # of the log
_SQUARED = 10.0  # weight of the squared error beside the absolute one; pixels are in [−1, 1]
_LOG_VARIANCE = (-10.0, 5.0)  # beyond, exp(−x) and exp(x) of a random encoder overflow


@dataclasses.dataclass(frozen=True)
class VAEAloneConfig(EncoderAloneConfig):
    """How the VAE is trained alone; its architecture is that of the first stage, and labels of pictures are not used.

    Attributes:
      divergence: weight of the divergence, mean over latent channels.
    """

    divergence: float

    def __post_init__(self) -> None:
        super().__post_init__()
        above(self, 0, "divergence")


class _Losses(NamedTuple):
    """Means over a batch: absolute and squared error of pixels in [−1, 1], and divergence per latent channel."""

    absolute: jax.Array
    squared: jax.Array
    divergence: jax.Array


def is_trained(folder: AnyPath) -> bool:
    """Whether ``train`` has finished in a folder."""
    return is_there(folder / METRICS)


def train(config: VAEAloneConfig, model: FluxVAEConfig, folder: AnyPath) -> dict[str, Any]:
    """Trains the VAE and writes it into the folder ``bagel`` of ``folder``, as ``ae.safetensors`` in FLUX's layout.

    Args:
      config: how to train it.
      model: its architecture.
      folder: to write to; what a call that was cut off has left in it is replaced.

    Returns:
      ``steps``, ``seconds``; the number of held-out ``pictures``, their ``psnr`` in dB after encoding to the
      posterior's mean and decoding, and ``mean`` and ``std`` of their latents. ``metrics.json`` in ``folder`` has the
      same.

    Raises:
      UserError: pictures that are missing or do not fit the model; a loss that is not finite; a folder that cannot be
        written.
    """
    start = time.monotonic()
    pictures, held_out = np.concatenate([_read(path, model) for path in config.pictures]), _read(config.held_out, model)
    params = nnx.state(FluxVAE(model, rngs=nnx.Rngs(params=config.seed)), nnx.Param)
    graphdef = nnx.split(nnx.eval_shape(lambda: FluxVAE(model, rngs=nnx.Rngs(params=0))), nnx.Param)[0]
    vae = nnx.merge(graphdef, _fit(config, graphdef, params, pictures))
    metrics = {
        "steps": config.steps,
        "seconds": round(time.monotonic() - start, 1),
        "pictures": len(held_out),
        **_measure(vae, held_out, config.batch_size),
    }
    logging.info("vae: %.1f dB on %d held-out pictures", metrics["psnr"], len(held_out))
    make_folder(folder / assets.NAME)
    vae_file.write(folder / assets.NAME / VAE_FILE, vae)
    # Last, because it says that the folder is complete.
    write_json(folder / METRICS, metrics)
    return metrics


def _read(path: str, model: FluxVAEConfig) -> np.ndarray:
    pictures, stride = labelled.read(path).pictures, model.downsample
    if pictures.shape[1] % stride:
        raise UserError(
            f"{path}: pictures have {pictures.shape[1]} pixels a side, which is no multiple of the {stride} of a "
            "latent; draw them of another size, or change model.vae.multipliers"
        )
    return pictures


def _fit(config: VAEAloneConfig, graphdef: nnx.GraphDef, params: nnx.State, pictures: np.ndarray) -> nnx.State:
    """Minimises the loss; ``params`` are donated."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.lr, config.warmup_steps, config.steps)
    # The norm of first gradients is far above that of later ones.
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule, b2=0.99))

    def loss_of(params: nnx.State, pixels: jax.Array, key: jax.Array) -> tuple[jax.Array, _Losses]:
        losses = _losses(nnx.merge(graphdef, params), to_unit(pixels), key)
        return losses.absolute + _SQUARED * losses.squared + config.divergence * losses.divergence, losses

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: nnx.State, opt: optax.OptState, pixels: jax.Array, number: jax.Array) -> tuple:
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        (loss, losses), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, pixels, key)
        updates, opt = optimizer.update(gradient, opt)
        return optax.apply_updates(params, updates), opt, loss, losses

    opt = optimizer.init(params)
    batches = random_batches(len(pictures), config.batch_size, config.seed)
    for i in range(1, config.steps + 1):
        params, opt, loss, losses = step(params, opt, pictures[next(batches)], i)
        if i == config.steps or i % max(1, config.steps // _LINES) == 0:
            logging.info("vae  %d/%d  absolute %.4f  squared %.5f  divergence %.3f", i, config.steps, *losses)
            if not np.isfinite(loss):
                raise UserError(f"config.vae.lr: the loss is {loss} at step {i}; lower the learning rate")
    return params


def _losses(vae: FluxVAE, pixels: jax.Array, key: jax.Array) -> _Losses:
    mean, log_variance = jnp.split(vae.moments(pixels), 2, axis=-1)
    log_variance = jnp.clip(log_variance, *_LOG_VARIANCE)
    sample = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
    error = vae.decoder(sample) - pixels
    divergence = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance)  # from a standard normal
    return _Losses(jnp.abs(error).mean(), (error**2).mean(), divergence.mean())


def _measure(vae: FluxVAE, pictures: np.ndarray, size: int) -> dict[str, float]:
    graphdef, params = nnx.split(vae, nnx.Param)

    @jax.jit
    def there_and_back(params: nnx.State, pixels: jax.Array) -> tuple[jax.Array, jax.Array]:
        vae = nnx.merge(graphdef, params)
        latents = vae.encode(to_unit(pixels))
        return latents, to_bytes(vae.decode(latents))

    count = len(pictures)
    parts = [there_and_back(params, pictures[batch]) for batch in all_in_batches(count, size)]
    latents, back = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    squared = float(((back.astype(np.float64) - pictures) ** 2).mean())
    psnr = 10 * math.log10(255**2 / squared) if squared else math.inf
    return {"psnr": psnr, "mean": float(latents.mean()), "std": float(latents.std())}
