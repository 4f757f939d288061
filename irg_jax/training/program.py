"""From a stage's config to what trains it: the spec of its state, and its compiled step."""

from typing import Any, NamedTuple

from jax.sharding import AbstractMesh, Mesh

from irg_jax.core.errors import ConfigError
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training import optimizer
from irg_jax.training.config import StageConfig
from irg_jax.training.state import StateSpec, make_state_spec
from irg_jax.training.step import Step, make_step


class Program(NamedTuple):
    """What a stage needs to train; no weight is allocated.

    Attributes:
      spec: structure and shardings of the state.
      step: the training step, compiled at its first call.
    """

    spec: StateSpec
    step: Step


def check_rows(config: StageConfig, mesh: Mesh | AbstractMesh) -> None:
    """Checks that the mesh can split the batch.

    Raises:
      ConfigError: ``data.batch_size`` or one of ``data.budgets`` that does not divide.
    """
    shards, rows, accumulate = mesh.shape["data"] * mesh.shape["fsdp"], config.data.batch_size, config.optim.accumulate
    if rows % (shards * accumulate):
        raise ConfigError(
            "data.batch_size",
            f"{rows} rows do not divide over {shards} devices (mesh.data x mesh.fsdp) and {accumulate} microbatches; "
            "put devices beyond the rows on mesh.context",
        )
    for name in ("und", "gen", "vit"):
        tokens, parts = getattr(config.data.budgets, name), mesh.shape["context"]
        if tokens % parts:
            raise ConfigError(f"data.budgets.{name}", f"{tokens} tokens do not divide over mesh.context {parts}")


def build_program(config: StageConfig, mesh: Any, platform: str) -> Program:
    """The program of a stage.

    Args:
      config: of the stage.
      mesh: of this machine's devices, or of those of a topology, to compile for.
      platform: ``cpu``, ``gpu`` or ``tpu``; decides the attention backend where the config says ``auto``.

    Raises:
      ConfigError: an attention backend that does not run there, a mesh that does not divide a weight, or a freeze or
        LoRA regex without a match.
    """
    execution = config.execution.on(platform)
    schedule = optimizer.learning_rate(config.optim, config.steps)
    adamw = optimizer.make_optimizer(config.optim, schedule)
    spec = make_state_spec(config.model, execution, adamw, mesh, ShardingRules(), config.lora, config.optim.ema_dtype)
    step = make_step(
        spec,
        config.model,
        execution,
        loss=config.loss,
        optim=config.optim,
        optimizer=adamw,
        schedule=schedule,
        modes=len(config.data.mixture),
        seed=config.seed,
        mesh=mesh,
    )
    return Program(spec, step)
