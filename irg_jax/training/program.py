"""From a stage's config to what runs it: the shapes of its state and its compiled step."""

from typing import Any, NamedTuple

from jax.sharding import AbstractMesh, Mesh

from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.models.lora import LoRAConfig
from irg_jax.training import optimizer, sharding
from irg_jax.training.state import Shaped, shape_state
from irg_jax.training.step import Step, make_step


class Program(NamedTuple):
    """Nothing here holds a weight.

    Attributes:
      shaped: of ``shape_state``.
      step: of ``make_step``.
    """

    shaped: Shaped
    step: Step


def check_rows(config: Any, mesh: Mesh | AbstractMesh) -> None:
    """Refuses a batch that the mesh cannot share out. Raises UserError, by the key."""
    shards, rows, accumulate = mesh.shape["data"] * mesh.shape["fsdp"], config.data.batch_size, config.optim.accumulate
    if rows % (shards * accumulate):
        raise UserError(
            f"data.batch_size: {rows} rows do not divide over {shards} devices (mesh.data x mesh.fsdp) and "
            f"{accumulate} microbatches; devices beyond the rows go to mesh.context"
        )
    for name in ("und", "gen", "vit"):
        tokens, parts = config.data.budgets[name], mesh.shape["context"]
        if tokens % parts:
            raise UserError(f"data.budgets.{name}: {tokens} tokens do not divide over mesh.context {parts}")


def build(config: Any, model: ModelConfig, mesh: Any, modes: int) -> Program:
    """The program of a stage.

    Args:
      config: of the stage.
      model: its model, with the attention backend of the platform that will run it.
      mesh: of devices, or of a topology that is not at hand.
      modes: learning modes in its mixture.

    Raises:
      UserError: by the key that is to blame.
    """
    schedule = optimizer.learning_rate(config.optim, config.steps)
    adamw = optimizer.make_optimizer(config.optim, schedule)
    lora = LoRAConfig.from_mapping(config.lora) if "lora" in config else None
    shaped = shape_state(model, adamw, mesh, sharding.Rules(), lora, optimizer.ema_dtype(config.optim))
    step = make_step(
        shaped,
        model,
        optimizer=adamw,
        schedule=schedule,
        freeze=optimizer.freeze_steps(shaped.abstract.params, config.optim.freeze),
        timestep_shift=config.loss.timestep_shift,
        ema_decay=config.optim.ema,
        ce_weight=config.loss.ce_weight,
        mse_weight=config.loss.mse_weight,
        accumulate=config.optim.accumulate,
        modes=modes,
        seed=config.seed,
        mesh=mesh,
    )
    return Program(shaped, step)
