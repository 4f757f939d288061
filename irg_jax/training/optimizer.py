"""AdamW with warm-up, clipping and step-wise freezing (irg.md §5)."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from irg_jax.errors import UserError
from irg_jax.training import rounding

SCHEDULES = ("constant", "cosine")
NEVER = jnp.iinfo(jnp.int32).max


def learning_rate(optim: Any, steps: int) -> optax.Schedule:
    """The learning rate by step: linear warm-up, then constant, or a cosine down to ``final_lr`` at the last step.

    Raises:
      UserError: an unknown schedule, a rate that is not positive, or a warm-up as long as the run.
    """
    if not optim.lr > 0:
        raise UserError(f"optim.lr: {optim.lr} must be > 0; to train nothing, freeze")
    if optim.schedule not in SCHEDULES:
        raise UserError(f"optim.schedule: {optim.schedule!r} is none of {', '.join(SCHEDULES)}")
    if not 0 <= optim.warmup_steps < steps:
        raise UserError(f"optim.warmup_steps: {optim.warmup_steps} must be at least 0 and less than the {steps} steps")
    if optim.schedule == "constant":
        body = optax.constant_schedule(optim.lr)
    else:
        body = optax.cosine_decay_schedule(optim.lr, steps - optim.warmup_steps, optim.final_lr / optim.lr)
    if optim.warmup_steps == 0:
        return body
    warmup = optax.linear_schedule(0.0, optim.lr, optim.warmup_steps)
    return optax.join_schedules([warmup, body], [optim.warmup_steps])


def make_optimizer(optim: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW with decoupled weight decay.

    Raises:
      UserError: an unknown type of the moments.
    """
    _check_dtype(optim, "moments_dtype")
    adam = optax.scale_by_adam(b1=optim.b1, b2=optim.b2, eps=optim.eps)
    return optax.chain(
        optax.clip_by_global_norm(optim.clip_norm),
        adam if optim.moments_dtype == "float32" else rounding.with_moments_in(adam, optim.moments_dtype),
        optax.add_decayed_weights(optim.weight_decay),
        optax.scale_by_learning_rate(schedule),
    )


def ema_dtype(optim: Any) -> str:
    """The type in which the moving average is kept. Raises UserError for one that is unknown."""
    _check_dtype(optim, "ema_dtype")
    return optim.ema_dtype


def _check_dtype(optim: Any, key: str) -> None:
    if optim[key] not in rounding.DTYPES:
        raise UserError(f"optim.{key}: {optim[key]!r} is none of {', '.join(rounding.DTYPES)}")


def freeze_steps(params: Any, rows: Sequence[tuple[str, int]]) -> Any:
    """For every weight the step from which on it is frozen.

    Args:
      params: a tree of weights.
      rows: (regex, step): weights whose name the regex matches anywhere are frozen from that step on, 0 is always.
        First match wins; a weight without a match is never frozen.

    Raises:
      UserError: a row that is none, or that matches no weight that an earlier row leaves.
    """
    for row in rows:
        if not (isinstance(row, Sequence) and [type(x) for x in row] == [str, int] and row[1] >= 0):
            raise UserError(f"optim.freeze: {row!r} must be (regex, step) with a step of at least 0")
        try:
            re.compile(row[0])
        except re.error as error:
            raise UserError(f"optim.freeze: {row[0]!r} is no regular expression ({error})") from error
    unused = dict.fromkeys(regex for regex, _ in rows)

    def one(path: tuple, _: Any) -> int:
        name = weight_name(path)
        for regex, step in rows:
            if re.search(regex, name):
                unused.pop(regex, None)
                return step
        return NEVER

    steps = jax.tree_util.tree_map_with_path(one, params, is_leaf=lambda x: isinstance(x, nnx.Variable))
    if unused:
        raise UserError(
            f"optim.freeze: {next(iter(unused))!r} matches no weight that an earlier row leaves; "
            "names look like blocks.und.q.kernel"
        )
    return steps


def weight_name(path: tuple) -> str:
    """The dotted name of a weight from its path in a tree."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")


def mask_frozen(tree: Any, steps: Any, step: jax.Array) -> Any:
    """``tree`` with zeros for the weights that are frozen at ``step``."""

    def one(frozen_from: int, x: Any) -> Any:
        return x if frozen_from == NEVER else jax.tree.map(lambda v: jnp.where(step >= frozen_from, 0, v), x)

    return jax.tree.map(one, steps, tree)
