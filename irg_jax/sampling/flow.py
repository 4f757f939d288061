"""Painting: Euler steps from noise to a picture, all guidance branches in one pass."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.models import flow
from irg_jax.models.transformer import Past, UnifiedTransformer
from irg_jax.sampling import cache
from irg_jax.sampling.cache import Region
from irg_jax.sampling.guidance import Guidance, guide

Velocity = Callable[[jax.Array, jax.Array], jax.Array]


class Branch(NamedTuple):
    """A context to paint under.

    Attributes:
      region: where its noised block stands on the line.
      rope: the block's rotary id, int32 [B].
      view: the (first, end) of the cache that it needs to look at.
    """

    region: Region
    rope: jax.Array
    view: tuple[int, int]


def velocities(
    model: UnifiedTransformer,
    past: Past,
    branches: Sequence[Branch],
    edges: tuple[int, int],
    x: jax.Array,
    t: jax.Array,
    place: jax.Array,
) -> list[jax.Array]:
    """Velocity of the same noised picture under several contexts: rows of one batch that share one cache.

    Args:
      model: the transformer.
      past: the cache.
      branches: one noised block a context.
      edges: ids of vision_start and vision_end.
      x: noised latent patches, [B, N, C].
      t: time, scalar.
      place: of each patch, int32 [N].

    Returns:
      [B, N, C] for each branch.
    """
    batch, count, _ = x.shape
    inner = model.embed_gen(x, jnp.full((batch, count), t), jnp.broadcast_to(place, (batch, count)))
    # The branches of a picture are neighbouring rows, as ``attention.Cached`` wants them.
    inner = jnp.repeat(inner, len(branches), axis=0)
    ropes = jnp.stack([branch.rope for branch in branches], axis=1).reshape(-1)
    start, end = (
        jnp.tile(jnp.array([getattr(b.region, name) for b in branches]), batch) for name in ("position", "end")
    )
    streams = cache.block_streams(model, edges, inner, start, ropes, end)
    _, hidden, _ = model(*streams, past, tuple(branch.view for branch in branches))
    v = model.velocity(hidden).reshape(batch, len(branches), *x.shape[1:])
    return [v[:, i] for i in range(len(branches))]


def paint(
    model: UnifiedTransformer,
    past: Past,
    noise: jax.Array,
    *,
    full: Branch,
    no_text: Branch,
    no_image: Branch | None,
    guidance: Guidance,
    edges: tuple[int, int],
    place: jax.Array,
    points: int,
    shift: float,
) -> jax.Array:
    """Latent patches of a picture.

    Args:
      model: the transformer.
      past: the cache; nothing is added to it.
      noise: where the flow starts, [B, N, C].
      full: the context to paint under.
      no_text: the context that text guidance moves away from.
      no_image: the context that image guidance moves away from, where there is one.
      guidance: of this turn.
      edges: ids of vision_start and vision_end.
      place: of each patch, int32 [N].
      points: time points, one more than Euler steps.
      shift: of the time points.

    Returns:
      [B, N, C].
    """
    times = flow.time_points(points, shift)
    with_text = guidance.text_scale > 1
    image_branches = [no_image] if guidance.image_scale > 1 and no_image is not None else []
    extra = ([no_text] if with_text else []) + image_branches

    def guided(x: jax.Array, t: jax.Array) -> jax.Array:
        v = velocities(model, past, [full, *extra], edges, x, t, place)
        return guide(guidance, v[0], v[1] if with_text else None, v[-1] if image_branches else None)

    def plain(x: jax.Array, t: jax.Array) -> jax.Array:
        return velocities(model, past, [full], edges, x, t, place)[0]

    x = noise
    steps = list(zip(times[:-1], times[1:], strict=True))
    for active, group in groupby(steps, key=lambda step: guidance.active(float(step[0])) and bool(extra)):
        velocity = guided if active else plain

        def euler(x: jax.Array, step: jax.Array, velocity: Velocity = velocity) -> tuple[jax.Array, None]:
            return x + (step[1] - step[0]) * velocity(x, step[0]), None

        x, _ = jax.lax.scan(euler, x, jnp.array(list(group), jnp.float32))
    return x
