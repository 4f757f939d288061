"""From a stage's config to what trains it: the spec of its state, and its compiled step."""

from typing import Any, NamedTuple

from jax.sharding import AbstractMesh, Mesh

from irg_jax.core.errors import ConfigError
from irg_jax.models.transformer import abstract_model
from irg_jax.sharding.rules import ShardingRules, state_shardings
from irg_jax.training import optimizer
from irg_jax.training.config import StageConfig
from irg_jax.training.objective import InterleavedLoss, Loss, MakeLoss
from irg_jax.training.state import StateSpec, make_state_spec
from irg_jax.training.step import Step, make_step


class Program(NamedTuple):
    """What a stage needs to train; no weight is allocated.

    Attributes:
      spec: structure and shardings of the state.
      step: the training step, compiled at its first call.
      loss: what it minimises.
    """

    spec: StateSpec
    step: Step
    loss: Loss


def check_mesh(config: StageConfig, mesh: Mesh | AbstractMesh) -> None:
    """Checks that the mesh can shard the batch and the model, before anything is allocated.

    Raises:
      ConfigError: a batch size, budget or weight that does not divide.
    """
    shards, rows, accumulate = mesh.shape["data"] * mesh.shape["fsdp"], config.data.batch_size, config.optim.accumulate
    if rows % (shards * accumulate):
        raise ConfigError(
            "data.batch_size",
            f"{rows} rows do not divide over {shards} devices (mesh.data x mesh.fsdp)"
            + (f" and {accumulate} microbatches" if accumulate > 1 else "")
            + "; put devices beyond the rows on mesh.context",
        )
    for name in ("und", "gen", "vit"):
        tokens, parts = getattr(config.data.budgets, name), mesh.shape["context"]
        if tokens % parts:
            raise ConfigError(f"data.budgets.{name}", f"{tokens} tokens do not divide over mesh.context {parts}")
    state_shardings(abstract_model(config.model)[1], mesh, ShardingRules())


def build_program(config: StageConfig, mesh: Any, platform: str, make_loss: MakeLoss = InterleavedLoss) -> Program:
    """The program of a stage.

    Args:
      config: of the stage.
      mesh: of this machine's devices, or of those of a topology, to compile for.
      platform: ``cpu``, ``gpu`` or ``tpu``; decides the attention backend where the config says ``auto``.
      make_loss: makes what is minimised from the sections ``loss`` and ``model`` and the number of modes.

    Raises:
      ConfigError: an attention backend that does not run there, a mesh that does not divide a weight, or a freeze or
        LoRA regex without a match.
    """
    execution = config.execution.on(platform)
    schedule = optimizer.learning_rate(config.optim, config.steps)
    adamw = optimizer.make_optimizer(config.optim, schedule)
    spec = make_state_spec(config.model, execution, adamw, mesh, ShardingRules(), config.lora, config.optim.ema_dtype)
    loss = make_loss(config.loss, config.model, len(config.data.mixture))
    step = make_step(
        spec,
        config.model,
        execution,
        loss=loss,
        optim=config.optim,
        optimizer=adamw,
        schedule=schedule,
        seed=config.seed,
        mesh=mesh,
    )
    return Program(spec, step, loss)
