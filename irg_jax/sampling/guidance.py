"""Guidance: how velocities of several contexts become one (irg.md §6)."""

import dataclasses

import jax
import jax.numpy as jnp

from irg_jax.errors import UserError

RENORMS = ("global", "channel", "text_channel")


@dataclasses.dataclass(frozen=True)
class Guidance:
    """Strength and shape of the guidance of one turn.

    Attributes:
      text_scale: away from the context without the thought (turn 1: without any text); 1 leaves the branch out.
      image_scale: away from the context without the picture; 1 leaves the branch out.
      interval: guided where low < t ≤ high; elsewhere the full context alone is run.
      renorm: ``global`` holds the norm of an image, ``channel`` that of each token, both after all terms;
        ``text_channel`` that of each token after the text term.
      renorm_min: least factor that renormalising may shrink by.
    """

    text_scale: float
    image_scale: float
    interval: tuple[float, float]
    renorm: str
    renorm_min: float

    def __post_init__(self) -> None:
        if self.renorm not in RENORMS:
            raise UserError(f"guidance: renorm {self.renorm!r} is none of {', '.join(RENORMS)}")
        if self.text_scale < 1 or self.image_scale < 1:
            raise UserError(f"guidance: scales {self.text_scale} and {self.image_scale} must be at least 1 (1 is off)")

    def active(self, t: float) -> bool:
        """Whether a step from time ``t`` is guided."""
        return self.interval[0] < t <= self.interval[1] and (self.text_scale > 1 or self.image_scale > 1)


def guide(g: Guidance, full: jax.Array, no_text: jax.Array | None, no_image: jax.Array | None) -> jax.Array:
    """One velocity out of those of up to three contexts, image by image.

    Args:
      g: scales and renormalising.
      full: velocity under the full context, [B, N, C].
      no_text: under the context without the thought; None where ``text_scale`` is 1.
      no_image: under the context without the picture; None where ``image_scale`` is 1.
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
    norm, wanted = (jnp.sqrt(jnp.sum(x * x, axis=axis, keepdims=True)) for x in (v, full))
    return v * jnp.clip(wanted / (norm + 1e-8), g.renorm_min, 1.0)
