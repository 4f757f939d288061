"""One state: step, weights, their moving average, optimizer moments. Made sharded, inside one jit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from irg_jax.models.config import ModelConfig
from irg_jax.models.lora import LoRAConfig, LoRAParam, wrap
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.training.sharding import Rules, state_shardings


class TrainState(NamedTuple):
    """What a checkpoint holds.

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


class Frozen(NamedTuple):
    """What a step reads and never writes: not trained, not averaged, not in its checkpoints.

    Attributes:
      autoencoder: from pixels to latents and back.
      base: weights below a wrapper that trains only its own, such as LoRA; empty where the whole model trains.
    """

    autoencoder: Any
    base: nnx.State


class Shaped(NamedTuple):
    """A state without its values.

    Attributes:
      graphdef: turns ``params`` and ``Frozen.base`` back into a model.
      abstract: shapes, with shardings.
      shardings: of every leaf.
      init: makes a fresh state from a seed, each weight straight in its shards.
      start: makes the first state of given weights, whose buffers it takes over.
      base: shapes, with shardings, of ``Frozen.base``; in the compute type, since nothing is added to them.
    """

    graphdef: nnx.GraphDef
    abstract: TrainState
    shardings: TrainState
    init: Callable[[int], TrainState]
    start: Callable[[nnx.State], TrainState]
    base: nnx.State


def graph_of(config: ModelConfig) -> tuple[nnx.GraphDef, nnx.State]:
    """The structure of a model and the shapes of its weights; no weight is made."""
    return nnx.split(nnx.eval_shape(lambda: UnifiedTransformer(config, rngs=nnx.Rngs(params=0))), nnx.Param)


def shape_state(
    config: ModelConfig,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    rules: Rules,
    lora: LoRAConfig | None = None,
    ema_dtype: str = "float32",
) -> Shaped:
    """Plans a state: every shape and every sharding, before anything is allocated.

    Args:
      config: the model's.
      optimizer: of ``training.optimizer``.
      mesh: the mesh.
      rules: logical name to mesh axis.
      lora: trains low-rank updates only, over frozen weights.
      ema_dtype: in which the moving average is kept, of ``rounding.DTYPES``.
    """
    trained = nnx.Param if lora is None else LoRAParam

    def make(key: jax.Array) -> nnx.Module:
        model = UnifiedTransformer(config, rngs=nnx.Rngs(params=key))
        return model if lora is None else wrap(model, lora, rngs=nnx.Rngs(params=jax.random.fold_in(key, 1)))

    abstract_model = nnx.eval_shape(lambda: make(jax.random.key(0)))
    graphdef, _, rest = nnx.split(abstract_model, trained, nnx.Param)  # type: ignore[misc]
    base = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, config.dtype), rest)

    def start(params: nnx.State) -> TrainState:
        ema = jax.tree.map(lambda x: x.astype(ema_dtype), params)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, optimizer.init(params))

    def init(seed: jax.Array) -> TrainState:
        return start(nnx.state(make(jax.random.key(seed)), trained))

    abstract = jax.eval_shape(init, jax.ShapeDtypeStruct((), jnp.uint32))
    shardings = state_shardings(abstract, mesh, rules)
    compiled = jax.jit(init, out_shardings=shardings)
    return Shaped(
        graphdef,
        with_shardings(abstract, shardings),
        shardings,
        lambda seed: compiled(jnp.uint32(seed)),
        jax.jit(start, out_shardings=shardings, donate_argnums=0),
        with_shardings(base, state_shardings(base, mesh, rules)),
    )


def with_shardings(abstract: Any, shardings: Any) -> Any:
    """A tree of shapes that also say where each array lives, for restoring straight into shards."""
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)


def count_weights(tree: Any) -> int:
    """Numbers in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
