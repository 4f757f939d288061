"""The records: any number of trajectories, each made independently from (seed, split, index)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data.images import encode_png
from irg_jax.data.trajectory import Trajectory, content_hash
from irg_jax.worlds.shapes.draw import SPLITS
from irg_jax.worlds.shapes.manners import MANNERS, draw_scene, write_prompt
from irg_jax.worlds.shapes.objects import SIZE, centres
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene_pictures import improved_picture, weak_picture
from irg_jax.worlds.shapes.thinking import write_plan, write_reflection

LICENCE = "Apache-2.0"  # of this package, whose code draws the images


def make_trajectory(
    seed: int, split: str, index: int, size: int = SIZE, manners: Sequence[str] = MANNERS[:1]
) -> Trajectory:
    """Trajectory number ``index`` of a split; the same arguments give the same texts and pixels on every machine.

    The manners alternate, and the kinds of each, so that consecutive records are balanced over both.

    Args:
      seed: 0 to 2**64 - 1; another seed gives other records, with the same assignment to splits.
      split: ``train`` or ``held_out``; the two share no combination of objects.
      index: 0 to 2**48 - 1.
      size: side of the square images in pixels, a multiple of 16 from 32 up.
      manners: benchmarks in whose manner the prompts ask, of ``MANNERS``; GenEval alone if not given.

    Returns:
      A Trajectory with PNG images, the key ``split/index`` and the scene as JSON.

    Raises:
      UserError: an argument is out of range.
    """
    if split not in SPLITS:
        raise UserError(f"shapes: there is no split {split!r}; use one of {', '.join(SPLITS)}")
    if not 0 <= seed < 1 << 64:
        raise UserError(f"shapes: seed {seed} is out of range; use 0 to 2**64 - 1")
    if not 0 <= index < 1 << 48:
        raise UserError(f"shapes: index {index} is out of range; use 0 to 2**48 - 1")
    if size < 32 or size % 16:
        raise UserError(f"shapes: size {size} is not a multiple of 16 from 32 up; use 32 or 64")
    unknown = [manner for manner in manners if manner not in MANNERS]
    if unknown or not manners:
        raise UserError(f"shapes: manners {list(manners)} must be one or more of {', '.join(MANNERS)}")
    stream = SPLITS.index(split) << 48 | index
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, stream], np.uint64)))
    manner = manners[index % len(manners)]
    scene = draw_scene(rng, manner, index // len(manners), size, split)
    prompt = write_prompt(scene, rng)
    weak = weak_picture(rng, scene, size)
    trajectory = Trajectory(
        key=f"{split}/{index:06d}",
        prompt=prompt,
        thinking1=write_plan(scene),
        image1=encode_png(render(weak, size)),
        thinking2=write_reflection(scene, weak.content, tuple(centres(size))),
        image2=encode_png(render(improved_picture(weak, scene), size)),
        source="shapes",
        licence=LICENCE,
        scene=scene.to_json(),
    )
    return dataclasses.replace(trajectory, hash=content_hash(trajectory))
