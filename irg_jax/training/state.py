"""The training state: step, weights, their moving average, optimizer moments. Made sharded, inside one jit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.lora import LoRAConfig, LoRAParam, wrap
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.sharding.rules import ShardingRules, state_shardings, with_shardings
from irg_jax.training.random_streams import stream_key


class TrainState(NamedTuple):
    """The state of training, all of which is in a checkpoint.

    Attributes:
      step: updates done, int32 scalar.
      params: weights, float32.
      ema: moving average of the weights, float32 or bfloat16.
      opt: optimizer state.
    """

    step: jax.Array
    params: nnx.State
    ema: nnx.State
    opt: optax.OptState


class FrozenParams(NamedTuple):
    """What a step reads and never updates: not trained, not averaged, not in its checkpoints.

    Attributes:
      vae: encodes images into latents; an ``EncodedAhead`` where all of them are encoded already.
      base: the weights that a LoRA run keeps fixed; empty where the whole model trains.
      reference: the weights of a second model that a loss compares with; None where it does not.
    """

    vae: Any
    base: nnx.State
    reference: nnx.State | None = None


class StateSpec(NamedTuple):
    """The structure of a state, without its values.

    Attributes:
      graphdef: merges ``params`` and ``FrozenParams.base`` back into a model.
      abstract: shapes and dtypes, with shardings.
      shardings: of every leaf.
      init: makes a fresh state from a seed, each weight directly in its shards.
      init_from_params: makes the first state from given weights, whose buffers are donated.
      base: shapes, with shardings, of ``FrozenParams.base``; in the compute dtype, since they are never updated.
    """

    graphdef: nnx.GraphDef
    abstract: TrainState
    shardings: TrainState
    init: Callable[[int], TrainState]
    init_from_params: Callable[[nnx.State], TrainState]
    base: nnx.State


def fresh_model(config: ModelConfig, execution: ExecutionConfig, seed: int | jax.Array) -> UnifiedTransformer:
    """The model that a stage with this seed starts from, where it starts from no other weights."""
    return UnifiedTransformer(config, execution, rngs=nnx.Rngs(params=stream_key(seed, "weights")))


def make_state_spec(
    config: ModelConfig,
    execution: ExecutionConfig,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: ShardingRules,
    lora: LoRAConfig | None = None,
    ema_dtype: str = "float32",
) -> StateSpec:
    """Works out every shape and every sharding of a state, before anything is allocated.

    Args:
      config: the architecture.
      execution: how it is executed.
      optimizer: of ``optimizer.make_optimizer``.
      mesh: the mesh.
      rules: logical name to mesh axis.
      lora: trains low-rank updates only, over frozen weights.
      ema_dtype: in which the moving average is stored, float32 or bfloat16.

    Raises:
      ConfigError: a mesh that does not divide a weight, or a freeze or LoRA regex without a match.
    """
    trained = nnx.Param if lora is None else LoRAParam

    def make_model(seed: int | jax.Array) -> nnx.Module:
        model = fresh_model(config, execution, seed)
        return model if lora is None else wrap(model, lora, rngs=nnx.Rngs(params=stream_key(seed, "lora")))

    abstract_model = nnx.eval_shape(lambda: make_model(0))
    graphdef, _, rest = nnx.split(abstract_model, trained, nnx.Param)  # type: ignore[misc]
    base = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, execution.dtype), rest)

    def init_from_params(params: nnx.State) -> TrainState:
        ema = jax.tree.map(lambda x: x.astype(ema_dtype), params)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, optimizer.init(params))

    def init(seed: jax.Array) -> TrainState:
        return init_from_params(nnx.state(make_model(seed), trained))

    abstract = jax.eval_shape(init, jax.ShapeDtypeStruct((), jnp.uint32))
    shardings = state_shardings(abstract, mesh, rules)
    compiled = jax.jit(init, out_shardings=shardings)
    return StateSpec(
        graphdef,
        with_shardings(abstract, shardings),
        shardings,
        lambda seed: compiled(jnp.uint32(seed)),
        jax.jit(init_from_params, out_shardings=shardings, donate_argnums=0),
        with_shardings(base, state_shardings(base, mesh, rules)),
    )
