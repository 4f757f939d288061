"""One step of the flow, from one time point to the next: what a sampler takes instead of Euler's step.

A stochastic step that also gives log-probabilities, for reinforcement learning, is a function of this kind
(``tests/sampling/test_flow_step.py`` has one).
"""

from typing import Any, Protocol

import jax


class FlowStep(Protocol):
    """A step of the flow for a batch of images; each row depends on its own row alone."""

    def __call__(
        self, x: jax.Array, velocity: jax.Array, t: jax.Array, t_next: jax.Array, keys: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Moves images from time ``t`` to ``t_next``.

        Args:
          x: noised latent patches at time ``t``, float32 [B, N, C].
          velocity: guided velocity there, float32 [B, N, C].
          t: flow time, float32 scalar; 1 is noise, 0 the image.
          t_next: the next time, below ``t``.
          keys: a random key for each row, [B], of this step alone.

        Returns:
          the latent patches at time ``t_next``, and a tree of arrays [B, …] that is kept of this step, or None.
        """


def euler_step(
    x: jax.Array, velocity: jax.Array, t: jax.Array, t_next: jax.Array, keys: jax.Array
) -> tuple[jax.Array, None]:
    """x + (t_next − t) · velocity, without chance; nothing is kept. See ``FlowStep``."""
    del keys
    return x + (t_next - t) * velocity, None
