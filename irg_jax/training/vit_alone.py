"""Trains the ViT alone on labelled pictures, before the first stage, which then starts from its weights.

BAGEL starts from an image encoder that has been trained on its own (SigLIP2). A model that starts from random weights
has none, and the language loss of the decoder hardly teaches the ViT to see. So it learns here, with one linear head
for each label over its features, what it needs of pictures; the heads are thrown away.

It takes seconds, so there are no checkpoints on the way: a run that was cut off begins anew. One device computes it,
of the primary process where there are several.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from irg_jax.checkpoints.manager import latest_step
from irg_jax.checkpoints.weights import find_origin, read_ema
from irg_jax.checkpoints.weights_folder import write_weights
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import make_folder, write_json
from irg_jax.core.storage import AnyPath
from irg_jax.data import labelled
from irg_jax.data.factory import make_processor
from irg_jax.data.images import patchify
from irg_jax.data.packing.layout import vit_columns
from irg_jax.models.attention.spans import Spans
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.models.vae.latents import to_unit
from irg_jax.training.config import StageConfig
from irg_jax.training.encoder_alone import EncoderAloneConfig, all_in_batches, random_batches
from irg_jax.training.state import fresh_model

# The weights are a level deeper than those of a stage: whoever opens the run by its folder means its last stage.
WEIGHTS, METRICS = "weights", "metrics.json"

_LINES = 10  # of the log


@dataclasses.dataclass(frozen=True)
class ViTAloneConfig(EncoderAloneConfig):
    """How the ViT is trained alone; its architecture and the size of pictures are those of the first stage.

    Attributes:
      init_from: run, or folder of weights, that the ViT goes on from, and from which all other weights are taken; empty
        for the fresh weights of the first stage.
    """

    init_from: str = ""


class _Pictures(NamedTuple):
    """Labelled pictures as the ViT reads them.

    Attributes:
      patches: uint8 [N, P, 3·patch²].
      columns: ``pos_id``, ``position``, ``start`` and ``end`` of the patches of every picture, each [P].
      labels: int32 [N, H].
      classes: of each label, int32 [H].
    """

    patches: np.ndarray
    columns: dict[str, np.ndarray]
    labels: np.ndarray
    classes: np.ndarray


class _Params(NamedTuple):
    """What is trained, float32.

    Attributes:
      vit: weights of the ViT.
      kernel: of the heads, [P·hidden, classes of all labels].
      bias: likewise, [classes of all labels].
    """

    vit: nnx.State
    kernel: jax.Array
    bias: jax.Array


_Logits = Callable[[_Params, jax.Array], list[jax.Array]]


def is_trained(folder: AnyPath) -> bool:
    """Whether ``train`` has finished in a folder."""
    return latest_step(folder / WEIGHTS) is not None


def train(config: ViTAloneConfig, stage: StageConfig, folder: AnyPath, assets_of: str | AnyPath = "") -> dict[str, Any]:
    """Trains the ViT and writes a folder that a stage can start from with ``init_from``.

    All weights but the ViT's are those of ``config.init_from``, or those that ``stage`` would start from without
    ``init_from``. ``metrics.json`` in the folder has what is returned.

    Args:
      config: how to train it.
      stage: the first stage, with the placeholders in its config filled in.
      folder: to write to; what a call that was cut off has left in it is replaced.
      assets_of: folder whose VAE the stage uses, which is copied; empty for none.

    Returns:
      ``steps``, ``seconds``; the number of held-out ``pictures``, the share of them with every label right,
      ``all_right``, and that of each label, ``right``.

    Raises:
      UserError: labelled pictures that are missing or wrong, or do not fit the model or each other; weights to go on
        from that are missing or of another model; a loss that is not finite; a folder that cannot be written.
    """
    start = time.monotonic()
    pictures, held_out = _read_all(config, stage)
    execution = dataclasses.replace(stage.execution.on(jax.default_backend()), dtype="float32")

    def make_model() -> UnifiedTransformer:
        return fresh_model(stage.model, execution, stage.seed)

    weights = jax.jit(lambda: nnx.state(make_model(), nnx.Param))()
    if config.init_from:
        origin, step = find_origin(config.init_from, None)
        weights = read_ema(origin, weights, step=step, alone=True)
    graphdef = nnx.split(nnx.eval_shape(make_model).vit, nnx.Param)[0]
    logits = _make_logits(graphdef, pictures)
    # Heads that start at zero give every class the same probability.
    outputs = int(pictures.classes.sum())
    kernel = jnp.zeros((pictures.patches.shape[1] * stage.model.vit.hidden, outputs))
    params = _fit(config, logits, _Params(weights["vit"], kernel, jnp.zeros(outputs)), pictures)
    weights["vit"] = params.vit
    right = _right(logits, params, held_out, config.batch_size)
    metrics = {
        "steps": config.steps,
        "seconds": round(time.monotonic() - start, 1),
        "pictures": len(right),
        "all_right": float(right.all(axis=1).mean()),
        "right": right.mean(axis=0).tolist(),
    }
    logging.info("vit: every label right in %.1f %% of %d held-out pictures", 100 * metrics["all_right"], len(right))
    make_folder(folder)
    write_json(folder / METRICS, metrics)
    # Last, because it says that the folder is complete.
    write_weights(folder / WEIGHTS, weights, to_json(stage), tokenizer_folder=stage.data.tokenizer, assets_of=assets_of)
    return metrics


def _read_all(config: ViTAloneConfig, stage: StageConfig) -> tuple[_Pictures, _Pictures]:
    """The pictures to learn from and those to measure with. Raises UserError where their labels differ."""
    first, *more, held_out = (_read(path, stage) for path in (*config.pictures, config.held_out))
    for path, other in zip((*config.pictures[1:], config.held_out), (*more, held_out), strict=True):
        if not np.array_equal(first.classes, other.classes):
            given = f"{other.classes.tolist()}, and {first.classes.tolist()} in {config.pictures[0]}"
            raise UserError(f"{path}: classes are {given}; build all files with the same labels")
    patches, labels = (np.concatenate([getattr(x, name) for x in (first, *more)]) for name in ("patches", "labels"))
    return first._replace(patches=patches, labels=labels), held_out


def _read(path: str, stage: StageConfig) -> _Pictures:
    """Reads pictures and cuts them into patches, as packed rows do. Raises UserError where rows would resize them."""
    found = labelled.read(path)
    geometry, size = stage.model.geometry, found.pictures.shape[1]
    seen, _ = make_processor(stage.data, geometry).vit_transform.size(size, size)
    if seen != size:
        raise UserError(
            f"{path}: pictures are of {size} x {size} pixels, which data.vit_image makes {seen} x {seen}; draw them of "
            "that size"
        )
    # All but the patches is the same for every picture, because all are of one size.
    columns = vit_columns(found.pictures[0], geometry.vit_patch, geometry.vit_patches_per_side)
    del columns["patches"]
    patches = np.stack([patchify(picture, geometry.vit_patch) for picture in found.pictures])
    return _Pictures(patches, columns, found.labels, found.classes)


def _make_logits(graphdef: nnx.GraphDef, pictures: _Pictures) -> _Logits:
    """The function from patches [B, P, 3·patch²] to the logits of each label, [B, its classes]."""
    ends = np.cumsum(pictures.classes)[:-1]

    def logits(params: _Params, patches: jax.Array) -> list[jax.Array]:
        columns = {name: jnp.broadcast_to(x, patches.shape[:2]) for name, x in pictures.columns.items()}
        spans = Spans(columns["position"], columns["start"], columns["end"])
        features = nnx.merge(graphdef, params.vit)(to_unit(patches), columns["pos_id"], spans)
        return jnp.split(features.reshape(len(features), -1) @ params.kernel + params.bias, ends, axis=1)

    return logits


def _fit(config: ViTAloneConfig, logits: _Logits, params: _Params, pictures: _Pictures) -> _Params:
    """Minimises the cross entropy, mean over the labels; ``params`` are donated."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.lr, config.warmup_steps, config.steps)
    adam = optax.adam(schedule)

    def loss_of(params: _Params, patches: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = logits(params, patches)
        losses = [optax.softmax_cross_entropy_with_integer_labels(x, labels[:, i]) for i, x in enumerate(scores)]
        right = jnp.stack([x.argmax(axis=1) == labels[:, i] for i, x in enumerate(scores)], axis=1)
        return jnp.mean(jnp.stack(losses)), right.all(axis=1).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: _Params, opt: optax.OptState, patches: jax.Array, labels: jax.Array) -> tuple:
        (loss, right), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, patches, labels)
        updates, opt = adam.update(gradient, opt)
        return optax.apply_updates(params, updates), opt, loss, right

    opt = adam.init(params)
    batches = random_batches(len(pictures.labels), config.batch_size, config.seed)
    for i in range(1, config.steps + 1):
        batch = next(batches)
        params, opt, loss, right = step(params, opt, pictures.patches[batch], pictures.labels[batch])
        if i == config.steps or i % max(1, config.steps // _LINES) == 0:
            logging.info("vit  %d/%d  loss %.4g  every label right %.3f", i, config.steps, loss, right)
            if not np.isfinite(loss):
                raise UserError(f"config.vit.lr: the loss is {loss} at step {i}; lower the learning rate")
    return params


def _right(logits: _Logits, params: _Params, pictures: _Pictures, size: int) -> np.ndarray:
    """Which labels of which pictures are right, bool [N, H], in batches of ``size``."""
    predict = jax.jit(lambda params, patches: jnp.stack([x.argmax(axis=1) for x in logits(params, patches)], axis=1))
    count = len(pictures.labels)
    found = np.concatenate([predict(params, pictures.patches[batch]) for batch in all_in_batches(count, size)])
    return found[:count] == pictures.labels
