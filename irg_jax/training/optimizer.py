"""AdamW with warm-up, clipping and step-wise freezing (AdamW, arXiv 1711.05101)."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from irg_jax.core.errors import ConfigError
from irg_jax.core.tree import weight_name
from irg_jax.training import stochastic_rounding
from irg_jax.training.config import FreezeEntry, OptimConfig

NEVER = jnp.iinfo(jnp.int32).max


def learning_rate(optim: OptimConfig, steps: int) -> optax.Schedule:
    """The learning rate by step: linear warm-up, then constant, or a cosine down to ``final_lr`` at the last step."""
    if optim.schedule == "constant":
        body = optax.constant_schedule(optim.lr)
    else:
        body = optax.cosine_decay_schedule(optim.lr, steps - optim.warmup_steps, optim.final_lr / optim.lr)
    if optim.warmup_steps == 0:
        return body
    warmup = optax.linear_schedule(0.0, optim.lr, optim.warmup_steps)
    return optax.join_schedules([warmup, body], [optim.warmup_steps])


def make_optimizer(optim: OptimConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Clips by the global norm, then AdamW with decoupled weight decay.

    Weights that are frozen from step 0 on have no moments: ``optax.MaskedNode`` stands for them in the state. Gradients
    and updates of frozen weights are the caller's to zero, see ``mask_frozen``.
    """

    def is_trained(tree: Any) -> Any:
        return jax.tree.map(lambda step: step > 0, freeze_steps(tree, optim.freeze))

    adam = optax.scale_by_adam(b1=optim.b1, b2=optim.b2, eps=optim.eps)
    if optim.moments_dtype != "float32":
        adam = stochastic_rounding.with_moments_in(adam, optim.moments_dtype)
    if any(step == 0 for _, step in optim.freeze):
        adam = optax.masked(adam, is_trained)
    return optax.chain(
        optax.clip_by_global_norm(optim.clip_norm),
        adam,
        optax.add_decayed_weights(optim.weight_decay),
        optax.scale_by_learning_rate(schedule),
    )


def freeze_steps(params: Any, entries: Sequence[FreezeEntry]) -> Any:
    """For every weight, the step from which on it is frozen; ``NEVER`` where no entry matches.

    Args:
      params: a tree of weights.
      entries: weights whose name a regex matches anywhere are frozen from its step on, 0 means always. The first match
        wins.

    Raises:
      ConfigError: an entry without a match among the weights that earlier entries leave.
    """
    unused = dict.fromkeys(regex for regex, _ in entries)

    def freeze_step_of(path: tuple, _: Any) -> int:
        name = weight_name(path)
        for regex, step in entries:
            if re.search(regex, name):
                unused.pop(regex, None)
                return step
        return NEVER

    steps = jax.tree_util.tree_map_with_path(freeze_step_of, params, is_leaf=lambda x: isinstance(x, nnx.Variable))
    if unused:
        raise ConfigError(
            "optim.freeze",
            f"{next(iter(unused))!r} matches no weight that an earlier entry leaves; "
            "names look like blocks.und.q.kernel",
        )
    return steps


def mask_frozen(tree: Any, steps: Any, step: jax.Array) -> Any:
    """``tree`` with zeros for the weights that are frozen at ``step``."""

    def zero_if_frozen(frozen_from: int, x: Any) -> Any:
        return x if frozen_from == NEVER else jax.tree.map(lambda v: jnp.where(step >= frozen_from, 0, v), x)

    return jax.tree.map(zero_if_frozen, steps, tree)
