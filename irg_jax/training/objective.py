"""What a training step minimises: the interface of a loss, and the loss of interleaved text and images."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from irg_jax.models.config import ModelConfig
from irg_jax.models.transformer import UnifiedTransformer
from irg_jax.training import losses
from irg_jax.training.config import LossConfig
from irg_jax.training.losses import FlowDraws, KeyOf
from irg_jax.training.state import FrozenParams


class Loss(Protocol):
    """A loss over a global batch that may be computed one microbatch after another.

    All that is random is drawn for the whole batch, and all that a sum is divided by is counted in the whole batch, so
    neither microbatches nor devices change the loss.
    """

    def draw(self, key_of: KeyOf, batch: dict) -> Any:
        """Everything random: a tree of arrays whose first axis is that of the rows."""

    def count(self, batch: dict) -> Any:
        """What sums over this batch are divided by: a tree of arrays that add up over batches."""

    def __call__(
        self, model: UnifiedTransformer, frozen: FrozenParams, batch: dict, x0: jax.Array, draws: Any, counts: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The microbatch's part of the loss, a scalar, and of the metrics: parts are summed.

        Args:
          model: with the weights that are trained.
          frozen: what is not trained, such as a reference model.
          batch: see ``data.packing.layout.batch_spec``, without its images or their moments.
          x0: clean latent patches of the generation stream, float32 [B, G, channels].
          draws: this microbatch's of ``draw``.
          counts: of ``count``, of the whole batch.
        """


class InterleavedLoss:
    """ce_weight·ΣCE/N_CE + mse_weight·ΣMSE/N_MSE (BAGEL, arXiv 2505.14683), and both losses per learning mode.

    Args:
      loss: weights of the losses, shift of the timesteps.
      model: the architecture.
      modes: number of learning modes.
    """

    def __init__(self, loss: LossConfig, model: ModelConfig, modes: int):
        self._loss, self._model, self._modes = loss, model, modes

    def draw(self, key_of: KeyOf, batch: dict) -> FlowDraws:
        """Timesteps and noise."""
        return losses.draw_flow(key_of, batch, self._model, self._loss.timestep_shift)

    def count(self, batch: dict) -> dict[str, jax.Array]:
        """Tokens with each loss, in total and per mode; for cross entropy per mode, the sum of their weights."""
        und, gen = batch["und"], batch["gen"]
        noised = gen["noised"].astype(jnp.float32)
        return {
            "ce": jnp.sum(und["weight"] > 0).astype(jnp.float32),
            "mse": jnp.sum(noised),
            "ce_by_mode": losses.sum_by_mode(und["weight"], und["mode"], self._modes),
            "mse_by_mode": losses.sum_by_mode(noised, gen["mode"], self._modes),
        }

    def __call__(
        self, model: UnifiedTransformer, frozen: FrozenParams, batch: dict, x0: jax.Array, draws: FlowDraws, counts: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The loss, and the metrics ``loss``, ``ce``, ``mse`` and, float32 [modes], ``ce_by_mode``, ``mse_by_mode``.

        A mode that is not in the batch has no loss: NaN.
        """
        token = losses.token_losses(model, batch, x0, draws)
        ce, mse = (jnp.sum(x) / jnp.maximum(counts[name], 1) for name, x in (("ce", token.ce), ("mse", token.mse)))
        total = self._loss.ce_weight * ce + self._loss.mse_weight * mse
        return total, {
            "loss": total,
            "ce": ce,
            "mse": mse,
            "ce_by_mode": losses.sum_by_mode(token.ce, batch["und"]["mode"], self._modes) / counts["ce_by_mode"],
            "mse_by_mode": losses.sum_by_mode(token.mse, batch["gen"]["mode"], self._modes) / counts["mse_by_mode"],
        }


# Makes a stage's loss from the sections of its config: weights, architecture, number of modes.
MakeLoss = Callable[[LossConfig, ModelConfig, int], Loss]
