"""Denoising: steps of the rectified flow from noise to latents, all guidance branches in one forward pass."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from irg_jax.models import flow
from irg_jax.models.transformer import KVCache, UnifiedTransformer
from irg_jax.sampling import cache as kv
from irg_jax.sampling.cache import Slot
from irg_jax.sampling.flow_step import FlowStep
from irg_jax.sampling.guidance import Guidance, guide

Velocity = Callable[[jax.Array, jax.Array], jax.Array]


class Denoised(NamedTuple):
    """What denoising gives.

    Attributes:
      latents: latent patches of the sampled images, float32 [B, N, C].
      flow: what the flow step keeps of each step, [steps, B, …]; None from ``euler_step``.
    """

    latents: jax.Array
    flow: Any


class Branch(NamedTuple):
    """One context of classifier-free guidance.

    Attributes:
      slot: of its noised block, which decides what the block sees of the cache.
      rope: the block's RoPE id, int32 [B].
      view: the (first, end) of the cache that contains everything it sees.
    """

    slot: Slot
    rope: jax.Array
    view: tuple[int, int]


def branch_velocities(
    model: UnifiedTransformer,
    cache: KVCache,
    branches: Sequence[Branch],
    delimiters: tuple[int, int],
    x: jax.Array,
    t: jax.Array,
    pos_id: jax.Array,
) -> list[jax.Array]:
    """Velocity of the same noised image under several contexts: rows of one batch that share one cache.

    Args:
      model: the transformer.
      cache: the cache.
      branches: the contexts, one noised block each.
      delimiters: ids of vision_start and vision_end.
      x: noised latent patches, [B, N, C].
      t: flow time, scalar.
      pos_id: of each patch, int32 [N].

    Returns:
      [B, N, C] for each branch.
    """
    batch, count, _ = x.shape
    embedded = model.embed_gen(x, jnp.full((batch, count), t), jnp.broadcast_to(pos_id, (batch, count)))
    # The branches of an image are neighbouring rows, as ``CacheView`` (models/attention/spans.py) needs them.
    embedded = jnp.repeat(embedded, len(branches), axis=0)
    ropes = jnp.stack([branch.rope for branch in branches], axis=1).reshape(-1)
    start, end = (jnp.tile(jnp.array([getattr(b.slot, name) for b in branches]), batch) for name in ("position", "end"))
    streams = kv.block_streams(model, delimiters, embedded, start, ropes, end)
    _, hidden, _ = model(*streams, cache, tuple(branch.view for branch in branches))
    v = model.velocity(hidden).reshape(batch, len(branches), *x.shape[1:])
    return [v[:, i] for i in range(len(branches))]


def denoise(
    model: UnifiedTransformer,
    cache: KVCache,
    noise: jax.Array,
    *,
    full: Branch,
    no_text: Branch,
    no_image: Branch | None,
    guidance: Guidance,
    delimiters: tuple[int, int],
    pos_id: jax.Array,
    points: int,
    shift: float,
    step: FlowStep,
    keys: jax.Array,
) -> Denoised:
    """Latent patches of sampled images.

    Args:
      model: the transformer.
      cache: the cache; nothing is added to it.
      noise: where the flow starts, [B, N, C].
      full: the full context.
      no_text: the context that text guidance moves away from.
      no_image: the context that image guidance moves away from; None where there is no image.
      guidance: of this turn.
      delimiters: ids of vision_start and vision_end.
      pos_id: of each patch, int32 [N].
      points: time points, one more than steps.
      shift: timestep shift of the time points.
      step: from one time point to the next.
      keys: one random key per row, for the steps that draw from it.
    """
    times = flow.time_points(points, shift)
    with_text = guidance.text_scale > 1
    image_branches = [no_image] if guidance.image_scale > 1 and no_image is not None else []
    extra = ([no_text] if with_text else []) + image_branches

    def guided(x: jax.Array, t: jax.Array) -> jax.Array:
        v = branch_velocities(model, cache, [full, *extra], delimiters, x, t, pos_id)
        return guide(guidance, v[0], v[1] if with_text else None, v[-1] if image_branches else None)

    def unguided(x: jax.Array, t: jax.Array) -> jax.Array:
        return branch_velocities(model, cache, [full], delimiters, x, t, pos_id)[0]

    x, outputs = noise, []
    steps = list(enumerate(zip(times[:-1], times[1:], strict=True)))
    for active, group in groupby(steps, key=lambda step: guidance.active(float(step[1][0])) and bool(extra)):
        indices, pairs = zip(*group, strict=True)
        velocity = guided if active else unguided

        def next_point(x: jax.Array, scanned: tuple, velocity: Velocity = velocity) -> tuple[jax.Array, Any]:
            index, (t, t_next) = scanned
            step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
            return step(x, velocity(x, t), t, t_next, step_keys)

        x, output = jax.lax.scan(next_point, x, (jnp.array(indices), jnp.array(pairs, jnp.float32)))
        outputs.append(output)
    return Denoised(x, jax.tree.map(lambda *groups: jnp.concatenate(groups), *outputs))
