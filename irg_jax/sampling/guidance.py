"""Classifier-free guidance: combines the velocities of several contexts into one (docs/method.md).

The formulas are BAGEL's (arXiv 2505.14683, released inference code); the scales of both turns are from IRG (arXiv
2509.06945, section 3.3).
"""

import dataclasses
import math
from typing import Literal

import jax
import jax.numpy as jnp

from irg_jax.core.config.ranges import within
from irg_jax.core.errors import check


@dataclasses.dataclass(frozen=True)
class Guidance:
    """Guidance of one turn.

    Attributes:
      text_scale: scale of the step away from the context without the thinking (turn 1: without prompt and thinking); 1
        turns it off.
      image_scale: scale of the step away from the context without the image; 1 turns it off.
      interval: timesteps with low < t ≤ high are guided; the others run the full context alone.
      renorm: limits the norm of the result to that under the full context. ``global``: per image, after both terms;
        ``channel``: per token, after both terms; ``text_channel``: per token, after the text term.
      renorm_min: lower bound of the factor that renormalization multiplies by.
    """

    text_scale: float
    image_scale: float
    interval: tuple[float, float]
    renorm: Literal["global", "channel", "text_channel"]
    renorm_min: float

    def __post_init__(self) -> None:
        for name in ("text_scale", "image_scale"):
            scale = getattr(self, name)
            check(1 <= scale < math.inf, name, f"{scale} must be at least 1 (1 is off)")
        low, high = self.interval
        check(0 <= low <= high <= 1, "interval", f"{self.interval} must be (low, high) with 0 <= low <= high <= 1")
        within(self, 0, 1, "renorm_min")

    def active(self, t: float) -> bool:
        """Whether a step from time ``t`` is guided."""
        return self.interval[0] < t <= self.interval[1] and (self.text_scale > 1 or self.image_scale > 1)


def guide(g: Guidance, full: jax.Array, no_text: jax.Array | None, no_image: jax.Array | None) -> jax.Array:
    """The guided velocity, [B, N, C]; each image of the batch is independent of the others.

    Args:
      g: scales and renormalization.
      full: velocity under the full context, [B, N, C].
      no_text: under the context without the text; None where ``text_scale`` is 1.
      no_image: under the context without the image; None where ``image_scale`` is 1.
    """
    v = full if no_text is None else no_text + g.text_scale * (full - no_text)
    if g.renorm == "text_channel":
        v = _renorm(g, v, full, axis=(-1,))
    if no_image is not None:
        v = no_image + g.image_scale * (v - no_image)
    if g.renorm == "channel":
        v = _renorm(g, v, full, axis=(-1,))
    elif g.renorm == "global":
        v = _renorm(g, v, full, axis=(-2, -1))
    return v


def _renorm(g: Guidance, v: jax.Array, full: jax.Array, axis: tuple[int, ...]) -> jax.Array:
    norm, target = (jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=True)) for x in (v, full))
    return v * jnp.clip(target / (norm + 1e-8), g.renorm_min, 1.0)
