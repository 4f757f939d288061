"""LoRA (arXiv 2106.09685): low-rank updates of frozen weights, as a wrapper around the linear layers of a model."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax.core.errors import ConfigError, check
from irg_jax.core.tree import weight_name
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.layers import Linear
from irg_jax.models.transformer import UnifiedTransformer


@dataclasses.dataclass(frozen=True)
class LoRAConfig:
    """Which linear layers get a LoRA update, and its rank and scale.

    Attributes:
      rank: rank of each update.
      alpha: an update is alpha/rank · A·B.
      weights: a regular expression, searched in the name of each linear layer's kernel, such as
        ``blocks.und.q.kernel``; the layers where it is found are wrapped.
    """

    rank: int
    alpha: float
    weights: str

    def __post_init__(self) -> None:
        check(self.rank >= 1, "rank", f"{self.rank} must be at least 1; to train the whole model, set lora to None")
        try:
            re.compile(self.weights)
        except re.error as error:
            raise ConfigError("weights", f"{self.weights!r} is not a regular expression ({error})") from error


class LoRAParam(nnx.Param):
    """A or B of an update: the only weights that are trained."""


class LoRALinear(Linear):
    """A linear layer with a LoRA update: y = x·W + b + alpha/rank · (x·A)·B. B starts at zero."""

    def __init__(self, base: Linear, config: LoRAConfig, *, rngs: nnx.Rngs):
        self.matmul, self.kernel, self.bias = base.matmul, base.kernel, base.bias
        *stack, n_in, n_out = base.kernel.get_value().shape
        *stack_axes, in_axis, out_axis = base.kernel.get_metadata("out_sharding")
        normal = jax.random.normal(rngs.params(), (*stack, n_in, config.rank)) * n_in**-0.5
        zeros = jnp.zeros((*stack, config.rank, n_out))
        self.lora_a = LoRAParam(normal, out_sharding=(*stack_axes, in_axis, None), eager_sharding=False)
        self.lora_b = LoRAParam(zeros, out_sharding=(*stack_axes, None, out_axis), eager_sharding=False)
        self.scale = config.alpha / config.rank

    def weight(self) -> jax.Array:
        return self.kernel[...] + self.scale * (self.lora_a[...] @ self.lora_b[...])

    def __call__(self, x: jax.Array) -> jax.Array:
        update = (x @ self.lora_a[...].astype(x.dtype)) @ self.lora_b[...].astype(x.dtype)
        return super().__call__(x) + self.scale * update


def wrap(model: nnx.Module, config: LoRAConfig, *, rngs: nnx.Rngs) -> nnx.Module:
    """Wraps the matching linear layers of ``model`` with LoRA, in place. Their own weights keep their names.

    Raises:
      ConfigError: ``config.weights`` matches no linear layer.
    """
    found = [(owner, name, path) for owner, name, path in _linears(model) if re.search(config.weights, path)]
    if not found:
        raise ConfigError(
            "lora.weights", f"{config.weights!r} matches no linear layer; names look like blocks.und.q.kernel"
        )
    for owner, name, _ in found:
        setattr(owner, name, LoRALinear(getattr(owner, name), config, rngs=rngs))
    return model


def abstract_factors(config: ModelConfig, lora: LoRAConfig) -> nnx.State:
    """The shapes of the ``LoRAParam`` weights of a wrapped model; nothing is allocated."""

    def make() -> nnx.Module:
        rngs = nnx.Rngs(params=0)  # made inside the trace: its counters cannot change in another one
        return wrap(UnifiedTransformer(config, ExecutionConfig(), rngs=rngs), lora, rngs=rngs)

    return nnx.state(nnx.eval_shape(make), LoRAParam)


class Update(NamedTuple):
    """The LoRA update of one weight: scale · a·b, with a [..., in, rank] and b [..., rank, out]."""

    a: jax.Array
    b: jax.Array
    scale: float


def updates_by_weight(factors: Any, config: LoRAConfig) -> dict[str, Update]:
    """The updates by the name of the weight that they change, such as ``blocks.und.q.kernel``.

    Args:
      factors: the ``LoRAParam`` weights of a wrapped model, or their shapes.
      config: the config they were trained with.
    """
    flat = {".".join(map(str, path)): value.get_value() for path, value in nnx.to_flat_state(factors)}
    layers = [name.removesuffix(".lora_a") for name in flat if name.endswith(".lora_a")]
    scale = config.alpha / config.rank
    return {f"{x}.kernel": Update(flat[f"{x}.lora_a"], flat[f"{x}.lora_b"], scale) for x in layers}


@functools.partial(jax.jit, static_argnames="dtype")
def merge_weight(weight: jax.Array, update: Update, dtype: str) -> jax.Array:
    """A weight with its update merged in: summed in float32, of the shape of ``weight``, returned in ``dtype``.

    Rounded before the sum, a weight would swallow its update: those of small learning rates are far below the step
    between two bfloat16 numbers.
    """
    product = jnp.matmul(update.a, update.b, precision="highest", preferred_element_type=jnp.float32)
    return (weight.astype(jnp.float32) + update.scale * product).astype(dtype)


def merge(base: Any, factors: Any, config: LoRAConfig) -> Any:
    """The base weights with the LoRA updates merged in, for a model without LoRA.

    Args:
      base: weights of the model without LoRA.
      factors: the ``LoRAParam`` weights of the wrapped one.
      config: the config they were trained with.

    Returns:
      a tree like ``base``: weights with an update in float32, the others as they are.
    """
    updates = updates_by_weight(factors, config)

    def add_update(path: tuple, weight: jax.Array) -> jax.Array:
        update = updates.get(weight_name(path))
        return weight if update is None else merge_weight(weight, update, "float32")

    return jax.tree_util.tree_map_with_path(add_update, base)


def _linears(module: nnx.Module, prefix: str = "") -> Iterator[tuple[nnx.Module, str, str]]:
    """(owner, attribute, name of the kernel) of every linear layer."""
    for name, value in vars(module).items():
        if isinstance(value, Linear):
            yield module, name, f"{prefix}{name}.kernel"
        elif isinstance(value, nnx.Module):
            yield from _linears(value, f"{prefix}{name}.")
