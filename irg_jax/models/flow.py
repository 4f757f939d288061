"""Rectified flow (arXiv 2209.03003): x_t = (1 − t)·x0 + t·noise, velocity = noise − x0; see ``docs/method.md``."""

from typing import TypeVar

import jax
import numpy as np

Times = TypeVar("Times", jax.Array, np.ndarray)


def shift_time(t: Times, shift: float) -> Times:
    """The timestep shift, which moves times in [0, 1] towards noise: shift·t / (1 + (shift − 1)·t)."""
    return shift * t / (1 + (shift - 1) * t)


def sample_times(key: jax.Array, shape: tuple[int, ...], shift: float) -> jax.Array:
    """Training times, float32: the shifted sigmoid of a standard normal."""
    return shift_time(jax.nn.sigmoid(jax.random.normal(key, shape)), shift)


def interpolate(x0: jax.Array, noise: jax.Array, t: jax.Array) -> jax.Array:
    """x_t for latents [..., C] at times [...]."""
    t = t[..., None]
    return (1 - t) * x0 + t * noise


def velocity_target(x0: jax.Array, noise: jax.Array) -> jax.Array:
    """What the model is trained to predict at every t."""
    return noise - x0


def time_points(count: int, shift: float) -> np.ndarray:
    """``count`` sampling times from 1 to 0, float32 [count], for count − 1 Euler steps; constants under jit."""
    return shift_time(np.linspace(1.0, 0.0, count, dtype=np.float32), shift)
