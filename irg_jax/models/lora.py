"""LoRA: low-rank updates beside frozen weights (arXiv 2106.09685), a wrapper around linear layers of any model."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from irg_jax import sections
from irg_jax.errors import UserError
from irg_jax.models.param import Linear


@dataclasses.dataclass(frozen=True)
class LoRAConfig:
    """Which weights get an update, and how large.

    Attributes:
      rank: of each update.
      alpha: an update is alpha/rank · A·B.
      weights: a regex; linear layers whose kernel's name it matches anywhere are wrapped.
    """

    rank: int
    alpha: float
    weights: str

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "LoRAConfig":
        """From the ``lora`` section of a config.

        Raises:
          UserError: an unknown or missing key, a rank below 1, or no regular expression.
        """
        config = sections.build(cls, values, "lora")
        if config.rank < 1:
            raise UserError(f"lora.rank: {config.rank} must be at least 1; to train the whole model, leave lora out")
        try:
            re.compile(config.weights)
        except re.error as error:
            raise UserError(f"lora.weights: {config.weights!r} is no regular expression ({error})") from error
        return config


class LoRAParam(nnx.Param):
    """A factor of an update: what trains where the rest is frozen."""


class LoRALinear(Linear):
    """A linear layer with an update beside its kernel: y = x·W + b + alpha/rank · (x·A)·B. B starts at zero."""

    def __init__(self, base: Linear, config: LoRAConfig, *, rngs: nnx.Rngs):
        self.kernel, self.bias = base.kernel, base.bias
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
    """Gives the matching linear layers of ``model`` an update, in place. Their own weights keep their names.

    Raises:
      UserError: ``config.weights`` matches no linear layer.
    """
    found = [(owner, name, path) for owner, name, path in _linears(model) if re.search(config.weights, path)]
    if not found:
        raise UserError(
            f"lora.weights: {config.weights!r} matches no linear layer; names look like blocks.und.q.kernel"
        )
    for owner, name, _ in found:
        setattr(owner, name, LoRALinear(getattr(owner, name), config, rngs=rngs))
    return model


def merge(base: Any, factors: Any, config: LoRAConfig) -> Any:
    """The weights with their updates added: what an unwrapped model needs.

    Args:
      base: weights of the unwrapped model.
      factors: the ``LoRAParam`` weights of the wrapped one.
      config: as it was trained with.

    Returns:
      a tree like ``base``, in its dtypes.
    """
    flat = {".".join(map(str, path)): value for path, value in nnx.to_flat_state(factors)}

    def one(path: tuple, weight: jax.Array) -> jax.Array:
        layer = jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value").removesuffix(".kernel")
        if f"{layer}.lora_a" not in flat:
            return weight
        a, b = (flat[f"{layer}.lora_{x}"][...].astype(jnp.float32) for x in "ab")
        return (weight.astype(jnp.float32) + config.alpha / config.rank * (a @ b)).astype(weight.dtype)

    return jax.tree_util.tree_map_with_path(one, base)


def _linears(module: nnx.Module, prefix: str = "") -> Iterator[tuple[nnx.Module, str, str]]:
    """Every linear layer: its owner, its name there, the name of its kernel."""
    for name, value in vars(module).items():
        if isinstance(value, Linear):
            yield module, name, f"{prefix}{name}.kernel"
        elif isinstance(value, nnx.Module):
            yield from _linears(value, f"{prefix}{name}.")
